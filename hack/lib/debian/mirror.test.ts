import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mirrorInLines, mirrorInStanzas } from "./mirror.ts";

const STANZAS = `# What the installer wrote.
Types: deb
URIs: http://security.example/debian
Suites: bookworm-security

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Enabled: no

Types: deb deb-src
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm bookworm-updates
Components: main
`;

const LINES = `# deb http://comment.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb http://security.example/debian bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://mirror.example/debian bookworm main
`;

describe("the mirror of a release", () => {
  it("is in the first enabled stanza with the release", () => {
    assert.equal(mirrorInStanzas(STANZAS, "bookworm"), "http://mirror.example/debian");
    assert.equal(mirrorInStanzas(STANZAS, "bookworm-security"), "http://security.example/debian");
    assert.equal(mirrorInStanzas(STANZAS, "trixie"), undefined);
  });

  it("is in the first line for binary packages with the release", () => {
    assert.equal(mirrorInLines(LINES, "bookworm"), "http://mirror.example/debian");
    assert.equal(mirrorInLines(LINES, "trixie"), undefined);
  });
});
