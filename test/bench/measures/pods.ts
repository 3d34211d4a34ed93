import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { Cri, type CriContainer, type CriPod } from "../../testkit/cri.ts";
import { type Bench, type Measure, timed } from "../context.ts";
import { Report } from "../report.ts";

/** CRI's runtime handlers (hack/containerd); the pods of `hull` are clones of a template. */
const HANDLERS = [
  { handler: "runc", subject: "runc" },
  { handler: "hull", subject: "hull template" },
] as const;
const IDLE = ["sleep", "1000"];

/** Measures the creation and removal of a pod with a container. */
async function life(bench: Bench, cri: Cri, { handler, subject }: (typeof HANDLERS)[number]): Promise<void> {
  const { report } = bench;
  const begin = performance.now();
  const pod = await cri.runPod(handler);
  const ready = performance.now();
  const container = await pod.run(IDLE);
  const running = performance.now();
  report.add("RunPodSandbox", subject, "ms", ready - begin);
  report.add("create and start a container in a pod", subject, "ms", running - ready);
  report.add("ExecSync of true", subject, "ms", await timed(() => container.exec(["true"])));
  await traffic(bench, subject, pod, container);
  report.add("remove a pod", subject, "ms", await timed(() => pod.remove()));
}

const MIB = 32;

/** Measures the throughput from a pod's server to the host over CNI's bridge, and the round-trip time. */
async function traffic(bench: Bench, subject: string, pod: CriPod, container: CriContainer): Promise<void> {
  const sh = async (script: string) => {
    const { code, stdout, stderr } = await container.exec(["sh", "-c", script], 300);
    if (code !== 0) throw new Error(`${subject}: ${script}: status ${code}: ${stderr}`);
    return stdout;
  };
  const gateway = /via (\S+)/.exec(await sh("ip route show default"))?.[1];
  if (gateway === undefined) throw new Error(`${subject}: the pod has no default route`);
  const pings = await sh(`ping -q -c ${bench.quick ? 5 : 50} -i 0.02 ${gateway}`);
  const average = Number(/ = [\d.]+\/([\d.]+)\//.exec(pings)?.[1]);
  bench.report.add("ping from a pod to the host", subject, "ms", average);

  // httpd uses sendfile(2), so the network is measured and not the copying of data by a program.
  await sh(`dd if=/dev/zero of=/dev/shm/big bs=1M count=${MIB} 2>/dev/null && httpd -p 8080 -h /dev/shm`);
  const address = (await pod.status()).network?.ip;
  const ms = await timed(async () => {
    const bytes = await download(`http://${address}:8080/big`);
    if (bytes !== MIB << 20) throw new Error(`${subject}: ${bytes} bytes of ${MIB} MiB arrived`);
  });
  bench.report.add("TCP from a pod to the host", subject, "MiB/s", MIB / (ms / 1000));
}

async function download(url: string): Promise<number> {
  const [response] = (await once(get(url), "response")) as [IncomingMessage];
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  return bytes;
}

export const pods: Measure = {
  name: "pods",
  what: "Kubernetes pods through CRI: ready, container, exec, network, removal",
  limitSeconds: 900,
  async run(bench) {
    const cri = new Cri(bench.containerd.address);
    try {
      // The first round is not counted: it fills caches and builds the template.
      for (let round = 0; round <= bench.runs; round++) {
        for (const one of HANDLERS) {
          bench.progress(`pods ${round} of ${bench.runs}: ${one.subject}`);
          await life(round === 0 ? { ...bench, report: new Report() } : bench, cri, one);
        }
      }
    } finally {
      await cri.removePods();
      cri.close();
    }
  },
};
