import assert from "node:assert/strict";
import { test } from "node:test";
import { layerOf } from "../../src/config/layer.ts";
import { LoadedConfig } from "../../src/config/loaded-config.ts";
import { parseText } from "../../src/config/parse-text.ts";
import { ConfigError } from "../../src/config/problem.ts";

/**
 * Mutated files, and the seconds they may take: a busy machine tries fewer, but never less than LEAST. The whole
 * number, whatever it takes: HULL_FUZZ_SECONDS=600. HULL_FUZZ_SEED repeats a run.
 */
const FILES = 100_000;
const LEAST = 10_000;
const LIMIT_MS = Number(process.env.HULL_FUZZ_SECONDS ?? 40) * 1_000;
const seed = Number(process.env.HULL_FUZZ_SEED ?? Date.now() % 2 ** 31);

/** A small generator with a seed (xorshift32): the same seed gives the same files. */
function generator(start: number): (below: number) => number {
  let state = start | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Short on purpose: a mutation then hits something that matters, and the parser's time goes with the length. */
const BASES = [
  "version: 1\nhypervisor:\n  default_memory: 512\n  kernel: ../k\n",
  "version: 1\nhypervisor: {kernel_params: [a, b=7], accel: tcg}\n",
  "version: 1\nagent: {boot_timeout: 10s}\nshim: {protocol: ttrpc}\n",
  "version: 1\nruntime:\n  sigterm_escalation: {after: 10s}\n",
  "version = 1\n[hypervisor]\ntype = 'qemu'\n",
];
const TOKENS = [
  "{",
  "}",
  "[",
  "]",
  ":",
  "- ",
  "\n",
  "  ",
  "\t",
  "'",
  '"',
  "&a ",
  "*a",
  "!!int ",
  "~",
  "<<: ",
  "---\n",
  "...\n",
  "%",
  "|\n",
  ">-\n",
  "? ",
  "#",
  "0x",
  ".nan",
  "-1",
  "1e999",
  "__proto__",
  "\u0000",
  "\ufeff",
  "\u2028",
  "\ud800",
  "hypervisor",
  "agent:",
  "version: 1\n",
  "= ",
  "[hypervisor]\n",
];

function mutate(text: string, below: (n: number) => number): string {
  let result = text;
  for (let n = 1 + below(4); n > 0; n--) {
    const at = below(result.length + 1);
    const to = Math.min(result.length, at + below(12));
    const token = TOKENS[below(TOKENS.length)] ?? "";
    const middle = [
      token,
      "",
      String.fromCharCode(below(256)),
      token.repeat(below(8)),
      result.slice(at, to).repeat(2),
    ];
    result = result.slice(0, at) + middle[below(middle.length)] + result.slice(below(2) ? to : at);
  }
  return result;
}

test(`mutated files are loaded whole or refused (seed ${seed})`, { timeout: LIMIT_MS * 2 }, async (t) => {
  const below = generator(seed);
  const end = performance.now() + LIMIT_MS;
  let loaded = 0;
  let refused = 0;
  while (loaded + refused < FILES && performance.now() < end) {
    const text = mutate(BASES[below(BASES.length)] ?? "", below);
    const kind = text.includes("=") && below(2) ? "options" : "file";
    const origin = { kind, source: "x.yaml", folder: "/etc/hull" } as const;
    try {
      const { config } = LoadedConfig.of([layerOf(await parseText({ ...origin, text }), origin)], [], "/opt");
      assert.ok(config.hypervisor.default_memory >= 64 && config.hypervisor.kernel.startsWith("/"));
      assert.ok(config.agent.boot_timeout >= 1_000);
      loaded++;
    } catch (thrown) {
      if (!(thrown instanceof ConfigError))
        throw new Error(`not refused but broken: ${JSON.stringify(text)}`, { cause: thrown });
      assert.ok(thrown.message.length < 20_000, `a message of ${thrown.message.length} characters`);
      refused++;
    }
  }
  assert.equal(Object.hasOwn(Object.prototype, "type"), false, "a prototype was changed");
  t.diagnostic(`${loaded} loaded, ${refused} refused`);
  assert.ok(loaded + refused >= LEAST, `only ${loaded + refused} files in ${LIMIT_MS} ms`);
  assert.ok(
    Math.min(loaded, refused) > LEAST / 100,
    `${loaded} loaded, ${refused} refused: one side was not tried`,
  );
});

test("the largest files that nest without end are refused in bounded time", async () => {
  for (const unit of ["[", "{", "- ", "? ", "{a: ", "a:\n "]) {
    const text = `version: 1\na: ${unit.repeat(Math.floor((64 * 1024) / unit.length))}`;
    const start = process.cpuUsage(); // of the processor's time: a busy machine is no failure
    const { problems } = await parseText({ kind: "file", source: "x", text, folder: "/" });
    assert.ok(problems.length > 0, unit);
    const { user, system } = process.cpuUsage(start);
    assert.ok(user + system < 10_000_000, `${unit} took ${(user + system) / 1000} ms`);
  }
});
