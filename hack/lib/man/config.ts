import { reference } from "../../../src/config/emit/reference.ts";

/** Returns hull-config(5): the reference of the configuration. */
export function configPage(): string {
  return `## Name

hull-config - configuration of hull, the VM sandbox runtime for containerd

## Synopsis

    /etc/hull/config.yaml
    /etc/hull/config.d/*.yaml

## Description

${reference()}
## Examples

Give pods 512 MiB by default, and let them choose their number of CPUs by an annotation:

    version: 1
    hypervisor:
      default_memory: 512
    runtime:
      enable_annotations: [hypervisor.default_vcpus]

\`hull config default\` prints a file with every key and its default.

## See also

**hull**(1), **containerd-shim-hull-v2**(8)
`;
}
