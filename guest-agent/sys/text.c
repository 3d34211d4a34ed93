// TextEncoder and TextDecoder (UTF-8 only) of the Encoding Standard (encoding.spec.whatwg.org).
#include "sys.h"

#include <stdlib.h>
#include <string.h>

// --- TextEncoder

static JSValue encode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self;
  size_t length = 0;
  if (argc < 1 || JS_IsUndefined(argv[0]))
    return JS_NewUint8ArrayCopy(ctx, NULL, 0);
  const char *text = JS_ToCStringLen(ctx, &length, argv[0]);
  if (!text)
    return JS_EXCEPTION;
  JSValue array = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, length);
  JS_FreeCString(ctx, text);
  size_t size;
  uint8_t *bytes = JS_GetUint8Array(ctx, &size, array);
  // The engine encodes a lone surrogate as three bytes from ED A0 80 on; the standard requires U+FFFD, also
  // three bytes.
  for (size_t i = 0; bytes && i + 2 < size; i++)
    if (bytes[i] == 0xed && bytes[i + 1] >= 0xa0)
      memcpy(bytes + i, "\xef\xbf\xbd", 3);
  return array;
}

// --- TextDecoder

typedef struct Decoder {
  bool fatal, keep_mark;
  // The state of the standard's UTF-8 decoder, kept between calls with {stream: true}.
  bool started;
  uint32_t point;
  int needed;
  uint8_t lower, upper;
} Decoder;

static JSClassID decoder_class;

static void decoder_reset(Decoder *decoder) {
  decoder->started = false;
  decoder->needed = 0;
  decoder->lower = 0x80;
  decoder->upper = 0xbf;
}

static void decoder_finalize(JSRuntime *rt, JSValueConst value) {
  js_free_rt(rt, JS_GetOpaque(value, decoder_class));
}

static const JSClassDef decoder_definition = {"TextDecoder", .finalizer = decoder_finalize};

static bool option(JSContext *ctx, JSValueConst options, const char *name) {
  if (!JS_IsObject(options))
    return false;
  JSValue value = JS_GetPropertyStr(ctx, options, name);
  bool set = JS_ToBool(ctx, value) > 0;
  JS_FreeValue(ctx, value);
  return set;
}

static JSValue decoder_new(JSContext *ctx, JSValueConst target, int argc, JSValueConst *argv) {
  if (argc > 0 && !JS_IsUndefined(argv[0])) {
    const char *label = JS_ToCString(ctx, argv[0]);
    if (!label)
      return JS_EXCEPTION;
    bool known = !strcasecmp(label, "utf-8") || !strcasecmp(label, "utf8");
    JS_FreeCString(ctx, label);
    if (!known)
      return JS_ThrowRangeError(ctx, "TextDecoder: only utf-8 is known");
  }
  JSValue prototype = JS_GetPropertyStr(ctx, target, "prototype");
  JSValue object = JS_NewObjectProtoClass(ctx, prototype, decoder_class);
  JS_FreeValue(ctx, prototype);
  Decoder *decoder = JS_IsException(object) ? NULL : js_mallocz(ctx, sizeof(*decoder));
  if (!decoder) {
    JS_FreeValue(ctx, object);
    return JS_EXCEPTION;
  }
  decoder->fatal = argc > 1 && option(ctx, argv[1], "fatal");
  decoder->keep_mark = argc > 1 && option(ctx, argv[1], "ignoreBOM");
  decoder_reset(decoder);
  JS_SetOpaque(object, decoder);
  return object;
}

typedef struct Output {
  char *bytes;
  size_t length;
  bool malformed;
} Output;

static void put(Decoder *decoder, Output *output, uint32_t point) {
  bool mark = point == 0xfeff && !decoder->started && !decoder->keep_mark;
  decoder->started = true;
  if (mark)
    return;
  char *out = output->bytes + output->length;
  if (point < 0x80) {
    *out++ = (char)point;
  } else if (point < 0x800) {
    *out++ = (char)(0xc0 | point >> 6);
    *out++ = (char)(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    *out++ = (char)(0xe0 | point >> 12);
    *out++ = (char)(0x80 | (point >> 6 & 0x3f));
    *out++ = (char)(0x80 | (point & 0x3f));
  } else {
    *out++ = (char)(0xf0 | point >> 18);
    *out++ = (char)(0x80 | (point >> 12 & 0x3f));
    *out++ = (char)(0x80 | (point >> 6 & 0x3f));
    *out++ = (char)(0x80 | (point & 0x3f));
  }
  output->length = (size_t)(out - output->bytes);
}

static void put_malformed(Decoder *decoder, Output *output) {
  decoder->needed = 0;
  decoder->lower = 0x80;
  decoder->upper = 0xbf;
  output->malformed = true;
  put(decoder, output, 0xfffd);
}

static void start_sequence(Decoder *decoder, Output *output, uint8_t byte) {
  if (byte < 0x80) {
    put(decoder, output, byte);
  } else if (byte >= 0xc2 && byte <= 0xdf) {
    decoder->needed = 1;
    decoder->point = byte & 0x1f;
  } else if (byte >= 0xe0 && byte <= 0xef) {
    // No overlong forms, no surrogates.
    decoder->lower = byte == 0xe0 ? 0xa0 : 0x80;
    decoder->upper = byte == 0xed ? 0x9f : 0xbf;
    decoder->needed = 2;
    decoder->point = byte & 0xf;
  } else if (byte >= 0xf0 && byte <= 0xf4) {
    // No overlong forms, nothing above U+10FFFF.
    decoder->lower = byte == 0xf0 ? 0x90 : 0x80;
    decoder->upper = byte == 0xf4 ? 0x8f : 0xbf;
    decoder->needed = 3;
    decoder->point = byte & 0x7;
  } else {
    put_malformed(decoder, output);
  }
}

static void feed(Decoder *decoder, Output *output, uint8_t byte) {
  if (!decoder->needed) {
    start_sequence(decoder, output, byte);
    return;
  }
  if (byte < decoder->lower || byte > decoder->upper) {
    // The byte is not part of the malformed sequence: process it again.
    put_malformed(decoder, output);
    start_sequence(decoder, output, byte);
    return;
  }
  decoder->lower = 0x80;
  decoder->upper = 0xbf;
  decoder->point = decoder->point << 6 | (byte & 0x3f);
  if (!--decoder->needed)
    put(decoder, output, decoder->point);
}

static bool is_ascii(const uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (bytes[i] >= 0x80)
      return false;
  return true;
}

// Returns the bytes of any buffer or view; NULL with an exception.
static const uint8_t *input_bytes(JSContext *ctx, JSValueConst value, size_t *length) {
  static const uint8_t none[1];
  if (JS_IsUndefined(value)) {
    *length = 0;
    return none;
  }
  bool typed = JS_GetTypedArrayType(value) >= 0;
  const uint8_t *bytes = typed ? JS_GetUint8Array(ctx, length, value) : JS_GetArrayBuffer(ctx, length, value);
  return bytes || JS_HasException(ctx) ? bytes : none;
}

static JSValue decode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  Decoder *decoder = JS_GetOpaque2(ctx, self, decoder_class);
  if (!decoder)
    return JS_EXCEPTION;
  bool stream = argc > 1 && option(ctx, argv[1], "stream");
  size_t length;
  const uint8_t *bytes = input_bytes(ctx, argc > 0 ? argv[0] : JS_UNDEFINED, &length);
  if (!bytes)
    return JS_EXCEPTION;
  if (!decoder->needed && is_ascii(bytes, length)) {
    decoder->started = stream && (decoder->started || length);
    return JS_NewStringLen(ctx, (const char *)bytes, length);
  }
  // A byte expands to at most three; an incomplete sequence of the previous call adds three more.
  Output output = {malloc(length * 3 + 6), 0, false};
  if (!output.bytes)
    return JS_ThrowOutOfMemory(ctx);
  for (size_t i = 0; i < length; i++)
    feed(decoder, &output, bytes[i]);
  if (!stream && decoder->needed)
    put_malformed(decoder, &output);
  bool refused = output.malformed && decoder->fatal;
  if (!stream || refused)
    decoder_reset(decoder);
  JSValue text = refused ? JS_ThrowTypeError(ctx, "TextDecoder: the bytes are not UTF-8")
                         : JS_NewStringLen(ctx, output.bytes, output.length);
  free(output.bytes);
  return text;
}

static JSValue encoder_new(JSContext *ctx, JSValueConst target, int argc, JSValueConst *argv) {
  (void)argc, (void)argv;
  JSValue prototype = JS_GetPropertyStr(ctx, target, "prototype");
  JSValue object = JS_NewObjectProto(ctx, prototype);
  JS_FreeValue(ctx, prototype);
  return object;
}

static const JSCFunctionListEntry encoder_functions[] = {
    JS_CFUNC_DEF("encode", 1, encode),
    JS_PROP_STRING_DEF("encoding", "utf-8", JS_PROP_CONFIGURABLE),
};
static const JSCFunctionListEntry decoder_functions[] = {
    JS_CFUNC_DEF("decode", 2, decode),
    JS_PROP_STRING_DEF("encoding", "utf-8", JS_PROP_CONFIGURABLE),
};

static int add_class(JSContext *ctx, JSValueConst global, const char *name, JSCFunction *create,
                     const JSCFunctionListEntry *functions, int count) {
  JSValue constructor = JS_NewCFunction2(ctx, create, name, 0, JS_CFUNC_constructor, 0);
  JSValue prototype = JS_NewObject(ctx);
  if (JS_SetPropertyFunctionList(ctx, prototype, functions, count))
    return -1;
  JS_SetConstructor(ctx, constructor, prototype);
  JS_FreeValue(ctx, prototype);
  return JS_DefinePropertyValueStr(ctx, global, name, constructor, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
}

int sys_add_text(JSContext *ctx, JSValueConst global) {
  JSRuntime *rt = JS_GetRuntime(ctx);
  JS_NewClassID(rt, &decoder_class);
  if (JS_NewClass(rt, decoder_class, &decoder_definition))
    return -1;
  if (add_class(ctx, global, "TextEncoder", encoder_new, encoder_functions, 2) < 0)
    return -1;
  return add_class(ctx, global, "TextDecoder", decoder_new, decoder_functions, 2) < 0 ? -1 : 0;
}
