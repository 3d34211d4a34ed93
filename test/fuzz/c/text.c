/* guest-agent/sys/text.c against Table 3-7 of the Unicode Standard: any bytes, split anywhere, and any
 * UTF-16. */
#include "../../../guest-agent/sys/sys.h"
#include "fuzz.h"

#include <string.h>

SEEDS(SEED("\x00\x03plain"), SEED("\x01\x02\xef\xbb\xbf\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
      SEED("\x02\x01\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xe0\x80"));

enum { LONGEST = 4096 };

typedef struct Text {
  char bytes[3 * LONGEST + 16];
  size_t length;
  bool malformed;
} Text;

static JSContext *ctx;
static JSValue encoder, decoder_class, keep_mark_options[4], stream_options;

static void append(Text *text, const void *bytes, size_t length) {
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
}

/* Well-formed sequences: ranges of the first and the second byte, number of bytes. */
static const struct {
  uint8_t first, last, low, high;
  size_t length;
} rows[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
            {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
            {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};

/* Returns how many bytes belong together; *whole: whether they are a character. */
static size_t sequence(const uint8_t *data, size_t size, bool *whole) {
  *whole = false;
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    if (data[0] < rows[i].first || data[0] > rows[i].last)
      continue;
    size_t length = 1;
    while (length < rows[i].length && length < size &&
           (length == 1 ? data[1] >= rows[i].low && data[1] <= rows[i].high : (data[length] & 0xc0) == 0x80))
      length++;
    *whole = length == rows[i].length;
    return length;
  }
  return 1;
}

static void expect_text(Text *text, const uint8_t *data, size_t size, bool keep_mark) {
  text->length = 0;
  text->malformed = false;
  size_t at = !keep_mark && size >= 3 && !memcmp(data, "\xef\xbb\xbf", 3) ? 3 : 0;
  while (at < size) {
    bool whole;
    size_t length = sequence(data + at, size - at, &whole);
    if (whole)
      append(text, data + at, length);
    else
      append(text, "\xef\xbf\xbd", 3);
    text->malformed |= !whole;
    at += length;
  }
}

static JSValue invoke(JSValue object, const char *name, int argc, JSValue *argv) {
  JSAtom atom = JS_NewAtom(ctx, name);
  JSValue result = JS_Invoke(ctx, object, atom, argc, (JSValueConst *)argv);
  JS_FreeAtom(ctx, atom);
  return result;
}

/* Decodes a piece and appends it to `text`. Returns whether it was accepted. */
static bool decode_piece(JSValue decoder, Text *text, const uint8_t *data, size_t size, bool last) {
  JSValue arguments[2] = {JS_NewUint8ArrayCopy(ctx, data, size), last ? JS_UNDEFINED : stream_options};
  JSValue result = invoke(decoder, "decode", 2, arguments);
  JS_FreeValue(ctx, arguments[0]);
  if (JS_IsException(result)) {
    JS_FreeValue(ctx, JS_GetException(ctx));
    return false;
  }
  size_t length;
  const char *decoded = JS_ToCStringLen(ctx, &length, result);
  CHECK(decoded && text->length + length <= sizeof(text->bytes));
  append(text, decoded, length);
  JS_FreeCString(ctx, decoded);
  JS_FreeValue(ctx, result);
  return true;
}

/* Decodes in pieces. Returns false if the decoder refused one. */
static bool decode(Text *text, const uint8_t *data, size_t size, int options, size_t piece) {
  JSValue arguments[2] = {JS_NewString(ctx, "utf-8"), keep_mark_options[options]};
  JSValue decoder = JS_CallConstructor(ctx, decoder_class, 2, (JSValueConst *)arguments);
  JS_FreeValue(ctx, arguments[0]);
  text->length = 0;
  bool taken = true;
  size_t at = 0;
  do {
    size_t length = size - at < piece ? size - at : piece;
    taken = decode_piece(decoder, text, data + at, length, at + length == size);
    at += length;
  } while (taken && at < size);
  JS_FreeValue(ctx, decoder);
  return taken;
}

static void check_encoded(JSValue string, const Text *expected) {
  JSValue array = invoke(encoder, "encode", 1, &string);
  size_t length;
  const uint8_t *bytes = JS_GetUint8Array(ctx, &length, array);
  CHECK(length == expected->length && (!length || !memcmp(bytes, expected->bytes, length)));
  JS_FreeValue(ctx, array);
}

/* UTF-16 becomes UTF-8, with U+FFFD for lone surrogates. */
static void check_utf16(const uint8_t *data, size_t size) {
  static uint16_t units[LONGEST / 2];
  static Text expected;
  size_t count = size / 2;
  memcpy(units, data, count * 2);
  expected.length = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t unit = units[i];
    bool pair =
        unit >= 0xd800 && unit < 0xdc00 && i + 1 < count && units[i + 1] >= 0xdc00 && units[i + 1] < 0xe000;
    uint32_t point = pair ? 0x10000 + ((unit - 0xd800) << 10) + (units[++i] - 0xdc00)
                     : unit >= 0xd800 && unit < 0xe000 ? 0xfffd
                                                       : unit;
    uint8_t four[4] = {0xf0 | point >> 18, 0x80 | (point >> 12 & 63), 0x80 | (point >> 6 & 63),
                       0x80 | (point & 63)};
    uint8_t three[3] = {0xe0 | point >> 12, four[2], four[3]}, two[2] = {0xc0 | point >> 6, four[3]},
            one = point;
    if (point < 0x80)
      append(&expected, &one, 1);
    else if (point < 0x800)
      append(&expected, two, 2);
    else if (point < 0x10000)
      append(&expected, three, 3);
    else
      append(&expected, four, 4);
  }
  JSValue string = JS_NewStringUTF16(ctx, units, count);
  check_encoded(string, &expected);
  JS_FreeValue(ctx, string);
}

static void start(void) {
  ctx = JS_NewContext(JS_NewRuntime());
  JSValue global = JS_GetGlobalObject(ctx);
  CHECK(!sys_add_text(ctx, global));
  decoder_class = JS_GetPropertyStr(ctx, global, "TextDecoder");
  JSValue encoder_class = JS_GetPropertyStr(ctx, global, "TextEncoder");
  encoder = JS_CallConstructor(ctx, encoder_class, 0, NULL);
  JS_FreeValue(ctx, encoder_class);
  JS_FreeValue(ctx, global);
  for (int i = 0; i < 4; i++) {
    keep_mark_options[i] = JS_NewObject(ctx);
    JS_SetPropertyStr(ctx, keep_mark_options[i], "ignoreBOM", JS_NewBool(ctx, i & 1));
    JS_SetPropertyStr(ctx, keep_mark_options[i], "fatal", JS_NewBool(ctx, i & 2));
  }
  stream_options = JS_NewObject(ctx);
  JS_SetPropertyStr(ctx, stream_options, "stream", JS_TRUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static Text expected, text;
  if (size < 2 || size > LONGEST)
    return 0;
  if (!ctx)
    start();
  int options = data[0] & 3;
  size_t piece = 1 + data[1];
  data += 2;
  size -= 2;
  expect_text(&expected, data, size, options & 1);
  bool taken = decode(&text, data, size, options, piece);
  CHECK(taken == !(options & 2 && expected.malformed));
  if (taken) {
    CHECK(text.length == expected.length && !memcmp(text.bytes, expected.bytes, text.length));
    JSValue string = JS_NewStringLen(ctx, text.bytes, text.length);
    check_encoded(string, &text);
    JS_FreeValue(ctx, string);
  }
  check_utf16(data, size);
  return 0;
}
