/** Pods in network namespaces prepared by real CNI plugins: the same cases for runc and hull. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, watch } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, afterEach, before, it } from "node:test";
import { promisify } from "node:util";
import { type CniConfig, CniNetns, hostLocal } from "../testkit/cni.ts";
import type { Ctr } from "../testkit/ctr.ts";
import { debianPackage } from "../testkit/debian-package.ts";
import { podProcesses } from "../testkit/host-processes.ts";
import { forEveryRunner, newestLine, RUNTIMES } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

const run = promisify(execFile);
const sha256 = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");

/** Size of the download: releases must pass with 1024, which takes minutes on an emulated CPU. */
const MIB = Number(process.env.HULL_E2E_NETWORK_MIB ?? 64);

/** Different for each process, so that two runs on one machine do not collide. */
const OCTET = (process.pid % 200) + 20;
const BRIDGE = `hullbr${OCTET}`;
const GATEWAY4 = `10.213.${OCTET}.1`;
/** One end of a veth pair: an interface that is up without hardware. */
const MACVLAN_MASTER = `hullmv${OCTET}`;
const GATEWAY6 = `fd00:213:${OCTET}::1`;

forEveryRunner(
  "network",
  (runner, runtime) => {
    let directory = "";
    const prepared: { netns: CniNetns; before: string[] }[] = [];
    let count = 0;

    const bridge = (rest: object = {}): CniConfig => ({
      ...{ type: "bridge", bridge: BRIDGE, isGateway: true, hairpinMode: true },
      ipam: hostLocal(directory, `10.213.${OCTET}.0/24`, `fd00:213:${OCTET}::/64`),
      ...rest,
    });
    const ptp = (): CniConfig => ({ type: "ptp", ipam: hostLocal(directory, `10.214.${OCTET}.0/24`) });

    /** Prepares a namespace with these interfaces. Resolves with it and the addresses of each. */
    async function prepare(configs: Readonly<Record<string, CniConfig>>) {
      count += 1;
      const netns = await CniNetns.create(`hull-e2e-${process.pid}-${count}`);
      const addresses: Record<string, string[]> = {};
      for (const [ifname, config] of Object.entries(configs))
        addresses[ifname] = await netns.add(config, ifname);
      prepared.push({ netns, before: await netns.state() });
      return { flags: ["--with-ns", `network:${netns.path}`], addresses, netns };
    }

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), "hull-cni-"));
      const peer = `${MACVLAN_MASTER}p`;
      await run("ip", ["link", "add", MACVLAN_MASTER, "up", "type", "veth", "peer", "name", peer]);
      await run("ip", ["link", "set", peer, "up"]);
    });

    afterEach(async () => {
      for (const { netns, before } of prepared.splice(0)) {
        const left = await netns.state();
        await netns.remove();
        assert.deepEqual(left, before, "the namespace is not as before the pod");
      }
    });

    after(async () => {
      await run("ip", ["link", "del", BRIDGE]).catch(() => undefined); // this run may not have created a bridge
      await run("ip", ["link", "del", MACVLAN_MASTER]);
      await rm(directory, { recursive: true });
    });

    it("gives a pod on a bridge IPv4 and IPv6, the MTU, and access to the host", async () => {
      const { flags, addresses } = await prepare({ eth0: bridge({ mtu: 9000 }) });
      const [v4 = "", v6 = ""] = addresses.eth0 ?? [];
      const script = [
        "ip addr show dev eth0; ip route; ip -6 route; cat /sys/class/net/eth0/mtu",
        `ping -c 1 -W 5 ${GATEWAY4} && ping -c 1 -W 5 ${GATEWAY6}`,
        // The largest packet that is not fragmented: headers take 28 bytes.
        `ping -c 1 -W 5 -s 8972 ${GATEWAY4}`,
      ].join(" && ");
      const { code, stdout, stderr } = await runner().sh(script, { flags });
      assert.equal(code, 0, `${stdout}\n${stderr}`);
      assert.ok(stdout.includes(`inet ${v4}/24`), stdout);
      assert.ok(stdout.includes(`inet6 ${v6}/64`), stdout);
      assert.ok(stdout.includes(`default via ${GATEWAY4}`), stdout);
      assert.ok(stdout.includes(`default via ${GATEWAY6}`), stdout);
      assert.match(stdout, /^9000$/m);
      assert.match(stdout, /8980 bytes from/);
    });

    it(`downloads ${MIB} MiB from the host unchanged`, async () => {
      const { flags } = await prepare({ eth0: bridge() });
      const part = randomBytes(1 << 20);
      const server = createServer((_request, response) => {
        Readable.from(Array.from({ length: MIB }, () => part)).pipe(response);
      }).listen(0, GATEWAY4);
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      try {
        const { code, stdout, stderr } = await runner().sh(
          `wget -q -O - http://${GATEWAY4}:${port}/ | sha256sum`,
          { flags, timeoutMs: 60_000 + MIB * 1000 },
        );
        assert.equal(code, 0, stderr);
        const expected = createHash("sha256");
        for (let index = 0; index < MIB; index++) expected.update(part);
        assert.equal(stdout.split(" ")[0], expected.digest("hex"));
      } finally {
        server.close();
      }
    });

    it("answers the host and another pod", async () => {
      const server = await prepare({ eth0: bridge() });
      const client = await prepare({ eth0: bridge() });
      const [v4 = "", v6 = ""] = server.addresses.eth0 ?? [];
      const id = runner().id();
      const script =
        "mkdir /tmp/www && seq 1 200000 >/tmp/www/lines && httpd -p 80 -h /tmp/www && echo ready && read line";
      const serving = runner().start(["sh", "-c", script], { id, flags: server.flags, holdStdin: true });
      await serving.printed("ready\n");
      const expected = sha256(
        Buffer.from(Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join("")),
      );
      for (const host of [v4, `[${v6}]`]) {
        const response = await fetch(`http://${host}/lines`);
        assert.equal(sha256(new Uint8Array(await response.arrayBuffer())), expected, host);
      }
      const other = await runner().sh(
        `for host in ${v4} [${v6}]; do wget -q -O - http://$host/lines | sha256sum; done`,
        {
          flags: client.flags,
        },
      );
      assert.equal(other.code, 0, other.stderr);
      assert.deepEqual(
        other.stdout
          .trim()
          .split("\n")
          .map((line) => line.split(" ")[0]),
        [expected, expected],
      );
      serving.closeStdin(Buffer.from("\n"));
      assert.equal((await serving.ended).code, 0);
    });

    it("queries a name server", async () => {
      const { flags } = await prepare({ eth0: bridge() });
      const dns = createSocket("udp4", (question, { port, address }) =>
        dns.send(answer(question), port, address),
      );
      dns.bind(53, GATEWAY4);
      await once(dns, "listening");
      try {
        const { stdout, stderr } = await runner().sh(`nslookup -type=a pod.hull.test ${GATEWAY4}`, { flags });
        assert.ok(stdout.includes("192.0.2.7"), `${stdout}\n${stderr}`);
      } finally {
        dns.close();
      }
    });

    it("has a second interface, and routes through each", async () => {
      const { flags, addresses } = await prepare({
        eth0: ptp(),
        net1: bridge({ ipam: hostLocal(directory, `10.213.${OCTET}.0/24`), isDefaultGateway: false }),
      });
      const script = `ip addr show dev eth0; ip addr show dev net1; ping -c 1 -W 5 -I net1 ${GATEWAY4} && ping -c 1 -W 5 -I eth0 10.214.${OCTET}.1`;
      const { code, stdout, stderr } = await runner().sh(script, { flags });
      assert.equal(code, 0, `${stdout}\n${stderr}`);
      for (const address of [...(addresses.eth0 ?? []), ...(addresses.net1 ?? [])])
        assert.ok(stdout.includes(`inet ${address}/`), stdout);
    });

    it("connects pods on a macvlan", async () => {
      const ipam = hostLocal(directory, `10.216.${OCTET}.0/24`);
      const macvlan = (): CniConfig => ({ type: "macvlan", master: MACVLAN_MASTER, mode: "bridge", ipam });
      const server = await prepare({ eth0: macvlan() });
      const client = await prepare({ eth0: macvlan() });
      const [address = ""] = server.addresses.eth0 ?? [];
      const serving = runner().start(["sh", "-c", "echo ready; read line"], {
        flags: server.flags,
        holdStdin: true,
      });
      await serving.printed("ready\n");
      const { code, stdout } = await runner().sh(`ping -c 2 -W 5 ${address}`, { flags: client.flags });
      serving.closeStdin(Buffer.from("\n"));
      await serving.ended;
      assert.equal(code, 0, stdout);
    });

    it("gets no network with the model none", {
      skip: runtime === "runc" && "runc has no VM",
    }, async () => {
      const config = join(directory, "none.yaml");
      await writeConfig(config, { runtime: { internetworking_model: "none" } });
      const { flags } = await prepare({ eth0: bridge() });
      const { code, stdout } = await runner().sh("ls /sys/class/net", {
        flags: [...flags, "--runtime-config-path", config],
        timeoutMs: 120_000,
      });
      assert.deepEqual([code, stdout], [0, "lo\n"]);
    });

    const macvtap = { skip: runtime === "runc" && "runc has no VM" };
    /** Returns the flags for a configuration with the model macvtap and these settings of the hypervisor. */
    async function macvtapFlags(hypervisor: Record<string, unknown> = {}) {
      const file = join(directory, "macvtap.yaml");
      await writeConfig(file, { runtime: { internetworking_model: "macvtap" }, hypervisor });
      return ["--runtime-config-path", file];
    }
    const serve = "mkdir /tmp/www && seq 1 200000 >/tmp/www/lines && httpd -p 80 -h /tmp/www && echo ready";
    const served = sha256(
      Buffer.from(Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join("")),
    );

    it(
      "answers the host, its pod's localhost and another pod over macvtaps, cloned and booted",
      macvtap,
      async () => {
        const server = await prepare({ eth0: bridge({ mtu: 9000 }) });
        const client = await prepare({ eth0: bridge({ mtu: 9000 }), net1: ptp() });
        const [v4 = "", v6 = ""] = server.addresses.eth0 ?? [];
        const id = runner().id();
        const serving = runner().start(["sh", "-c", `${serve}; read line`], {
          id,
          flags: [...server.flags, ...(await macvtapFlags())],
          holdStdin: true,
        });
        await serving.printed("ready\n");
        const [vmm] = await podProcesses("qemu-system-x86_64", `${runner().ctr.namespace}/${id}`);
        assert.ok(vmm?.argv.includes("-incoming"), "it is a clone");
        for (const host of [v4, `[${v6}]`]) {
          const response = await fetch(`http://${host}/lines`);
          assert.equal(sha256(new Uint8Array(await response.arrayBuffer())), served, host);
        }
        const local = await server.netns.exec([process.execPath, "-e", FETCH, "http://127.0.0.1/lines"]);
        assert.equal(sha256(Buffer.from(local)), served);
        const script = [
          `for host in ${v4} [${v6}]; do wget -q -O - http://$host/lines | sha256sum; done`,
          `ping -c 1 -W 5 -s 8972 ${v4} && ping -c 1 -W 5 ${GATEWAY4} && ping -c 1 -W 5 ${GATEWAY6}`,
          `cat /sys/class/net/eth0/mtu && ping -c 1 -W 5 -I net1 10.214.${OCTET}.1`,
        ].join(" && ");
        const { code, stdout, stderr } = await runner().sh(script, {
          flags: [...client.flags, ...(await macvtapFlags({ template: { enable: false } }))],
          timeoutMs: 120_000,
        });
        assert.equal(code, 0, `${stdout}\n${stderr}`);
        assert.deepEqual(stdout.match(/^[0-9a-f]{64}/gm), [served, served]);
        assert.match(stdout, /^9000$/m);
        serving.closeStdin(Buffer.from("\n"));
        assert.equal((await serving.ended).code, 0);
      },
    );

    it(
      "leaves no macvtap behind when the shim is killed, and the namespace to the next pod",
      macvtap,
      async () => {
        const ipam = hostLocal(directory, `10.214.${OCTET}.0/24`, `fd00:214:${OCTET}::/64`);
        const { flags, netns } = await prepare({ eth0: { type: "ptp", ipam } });
        const before = await netns.state();
        const options = { id: runner().id(), flags: [...flags, ...(await macvtapFlags())] };
        const ping = `ping -c 1 -W 5 10.214.${OCTET}.1 && ping -c 1 -W 5 fd00:214:${OCTET}::1`;
        const killed = runner().start(["sh", "-c", `${ping} && echo ready; read line`], {
          ...options,
          holdStdin: true,
        });
        await killed.printed("ready\n");
        assert.ok((await netns.state()).some((line) => line.startsWith("hull-")));
        const pods = `/run/hull/${runner().ctr.namespace}`;
        const pod = join(pods, options.id);
        const shim = await readFile(join(pod, "shim.pid"), "utf8");
        const changes = watch(pods);
        process.kill(Number(shim.split(/\s/)[0]), "SIGKILL");
        await killed.ended;
        // The pod's directory is removed last.
        const signal = AbortSignal.timeout(60_000);
        while (existsSync(pod)) await once(changes, "change", { signal });
        changes.close();
        assert.deepEqual(await netns.state(), before);
        const { code, stdout, stderr } = await runner().sh(ping, { flags: options.flags });
        assert.equal(code, 0, `${stdout}\n${stderr}`);
      },
    );

    it("refuses a macvtap on top of a macvlan", macvtap, async () => {
      const ipam = hostLocal(directory, `10.216.${OCTET}.0/24`);
      const { flags } = await prepare({ eth0: { type: "macvlan", master: MACVLAN_MASTER, ipam } });
      const { code, stderr } = await runner().sh("true", { flags: [...flags, ...(await macvtapFlags())] });
      assert.notEqual(code, 0);
      assert.match(stderr, /eth0 is a macvlan.*set runtime.internetworking_model: tcfilter/);
    });

    // crictl and kubectl port-forward connect to localhost in the pod's namespace.
    it("answers on localhost in the pod's namespace, on any port, both ways at once", async () => {
      const { flags, netns } = await prepare({ eth0: bridge() });
      const script =
        "mkdir /tmp/www && seq 1 200000 >/tmp/www/lines && httpd -p 127.0.0.1:8080 -h /tmp/www && { nc -ll -p 7777 -e cat & } && echo ready && read line; kill %1";
      const serving = runner().start(["sh", "-c", script], { flags, holdStdin: true });
      await serving.printed("ready\n");
      const lines = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join("");
      assert.equal(await netns.exec([process.execPath, "-e", FETCH, "http://127.0.0.1:8080/lines"]), lines);
      const echoed = await netns.exec([process.execPath, "-e", ECHO_MIB, "7777"]);
      assert.equal(echoed, sha256(Buffer.alloc(1 << 20, "0123456789")));
      const refused = netns.exec([process.execPath, "-e", FETCH, "http://127.0.0.1:9/"]);
      await assert.rejects(refused, /ECONNREFUSED|ECONNRESET/);
      serving.closeStdin(Buffer.from("\n"));
      await serving.ended;
    });

    const hooked = async (more: readonly string[]) => {
      const id = runner().id();
      const { spec, poststop, host } = await bundleWithHooks(runner().ctr, directory);
      const ended = await runner().ctr.call([
        ...["run", "--rm", "--runtime", RUNTIMES[runtime]],
        ...[...more, "--config", spec, id],
      ]);
      assert.equal(ended.code, 0, `${ended.stdout}\n${ended.stderr}`);
      assert.match(ended.stdout, /1 packets received/, host);
      const state = JSON.parse(await readFile(poststop, "utf8")) as { id: string; status: string };
      assert.deepEqual([state.id, state.status], [id, "stopped"]);
    };

    it("runs OCI hooks that connect the container to a network", async () => await hooked([]));

    it("fails a container whose poststart hook fails", async () => {
      const { ctr } = runner();
      const id = runner().id();
      const { spec } = await bundleWithHooks(ctr, directory, ["echo no such address >&2", "exit 3"]);
      const { code, stderr } = await ctr.call([
        ...["run", "--rm", "--runtime", RUNTIMES[runtime], "--config", spec, id],
      ]);
      assert.equal(code, 1);
      assert.match(stderr, /hook.*: no such address/);
      const { stdout } = await ctr.expect(["tasks", "ls", "--quiet"]);
      assert.ok(!stdout.split("\n").includes(id));
    });

    it("creates a macvtap on an interface that is added later", macvtap, async () => {
      // Device nodes of macvtaps exist even if QEMU runs as root.
      await hooked(await macvtapFlags({ rootless: false }));
    });

    it("refuses the host's network", { skip: runtime === "runc" && "runc has no VM" }, async () => {
      const { code, stderr } = await runner().sh("true", { flags: ["--net-host"] });
      assert.notEqual(code, 0);
      assert.match(stderr, /host's network cannot be shared with a VM/);
    });

    it("has loopback only if the namespace has nothing else", async () => {
      const { flags } = await prepare({});
      for (const options of [{ flags }, {}]) {
        const { code, stdout } = await runner().sh(
          "ls /sys/class/net; ping -c 1 -W 5 127.0.0.1 && ping -c 1 -W 5 ::1",
          options,
        );
        assert.equal(code, 0, stdout);
        assert.ok(!stdout.includes("eth0"), stdout);
      }
    });
  },
  ["hull", "runc"],
  newestLine(),
);

/** Sends 1 MiB to a port of localhost, half-closes, and prints the hex sha256 of what comes back. */
const ECHO_MIB = `
  const socket = require("node:net").connect({ port: Number(process.argv[1]), host: "127.0.0.1", allowHalfOpen: true });
  const hash = require("node:crypto").createHash("sha256");
  socket.end(Buffer.alloc(1 << 20, "0123456789"));
  socket.on("data", (data) => hash.update(data)).on("end", () => process.stdout.write(hash.digest("hex")));
`;

/** A Node client that prints what a URL returns. */
const FETCH = `
  require("node:http").get(process.argv[1], (response) => response.pipe(process.stdout))
    .on("error", ({ code }) => { console.error(code); process.exitCode = 1; });
`;

/**
 * Returns a spec whose createRuntime hook creates eth0 in the namespace of the given PID, as Docker and
 * nerdctl do.
 */
async function bundleWithHooks(ctr: Ctr, directory: string, poststart: readonly string[] = []) {
  const host = `10.215.${OCTET}.1`;
  const root = join(directory, "rootfs");
  await mkdir(join(root, "bin"), { recursive: true });
  await copyFile(join(await debianPackage("busybox-static"), "bin/busybox"), join(root, "bin/busybox"));
  const poststop = join(directory, "poststop.json");
  const link = `hullhk${OCTET}`;
  const script = async (name: string, lines: readonly string[]) => {
    const path = join(directory, name);
    await writeFile(path, ["#!/bin/sh", "set -e", ...lines, ""].join("\n"), { mode: 0o755 });
    return { path, timeout: 20 };
  };
  const hooks = {
    createRuntime: [
      await script("connect", [
        `pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/')`,
        `ip link add ${link} type veth peer name eth0 netns "$pid"`,
        `ip addr add ${host}/24 dev ${link} && ip link set ${link} up`,
        `nsenter -t "$pid" -n ip addr add 10.215.${OCTET}.2/24 dev eth0`,
        `nsenter -t "$pid" -n ip link set eth0 up`,
      ]),
    ],
    poststart: [await script("poststart", poststart)],
    poststop: [await script("poststop", [`cat >${poststop}`])],
  };
  const spec = JSON.parse((await ctr.expect(["oci", "spec"])).stdout) as { process: object; linux: object };
  const args = ["/bin/busybox", "ping", "-c", "1", "-W", "5", host];
  const path = join(directory, "config.json");
  const changed = {
    ...spec,
    linux: { ...spec.linux, resources: {} },
    root: { path: root },
    hooks,
    process: { ...spec.process, terminal: false, args },
  };
  await writeFile(path, JSON.stringify(changed));
  return { spec: path, poststop, host };
}

/** Returns a DNS response (RFC 1035) with one A record, 192.0.2.7, for any question. */
function answer(question: Buffer): Buffer {
  const header = Buffer.from(question.subarray(0, 12));
  header.writeUInt16BE(0x8180, 2); // a response, recursion desired and available
  header.writeUInt16BE(1, 6); // one answer
  header.writeUInt16BE(0, 10); // no additional records
  const end = question.indexOf(0, 12) + 5;
  const record = Buffer.from("c00c00010001000000000004c0000207", "hex");
  return Buffer.concat([header, question.subarray(12, end), record]);
}
