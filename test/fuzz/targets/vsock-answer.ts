import assert from "node:assert/strict";
import { HullError } from "../../../src/core/errors.ts";
import { Dial } from "../../../src/vsock/hybrid.ts";
import type { Target } from "../engine/target.ts";
import { UnixServer } from "./unix-server.ts";

const server = new UnixServer();

/** A VMM's answer to CONNECT: accepted if well-formed, and the bytes after it belong to the stream. */
export const vsockAnswer: Target = {
  name: "vsock-answer",
  seeds: ["OK 1073741824\nfirst bytes of the stream\n", "OK 7\n", "NO\n"],
  tokens: ["OK ", "\n", " \n"],
  async run(input) {
    server.reply = input;
    const dial = new Dial(await server.path(), 1024);
    const answered = /^OK \d+\n/.exec(input.toString("latin1"))?.[0];
    try {
      const socket = await dial.answered;
      assert.ok(answered !== undefined && answered.length <= 32, "an invalid answer was accepted");
      const rest: Buffer[] = [];
      for await (const chunk of socket as AsyncIterable<Buffer>) rest.push(chunk);
      assert.deepEqual(Buffer.concat(rest), input.subarray(answered.length), "bytes of the stream are lost");
      return true;
    } catch (thrown) {
      if (!(thrown instanceof HullError)) throw thrown;
      assert.equal(thrown.code, "Unavailable");
      assert.ok(answered === undefined || answered.length > 32, "an answer was refused");
      assert.ok(thrown.message.length < 500);
      return false;
    }
  },
  close: () => server.close(),
};
