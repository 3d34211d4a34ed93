import { KeyValue } from "../../../src/proto/generated/ttrpc/ttrpc.ts";
import type { ServiceDefinition } from "../../../src/ttrpc/definition.ts";

/** A service with a method of each kind; messages are KeyValue. */
export const EchoDefinition = {
  fullName: "hull.test.Echo",
  methods: {
    echo: {
      name: "Echo",
      requestType: KeyValue as typeof KeyValue,
      requestStream: false,
      responseType: KeyValue as typeof KeyValue,
      responseStream: false,
    },
    repeat: {
      name: "Repeat",
      requestType: KeyValue as typeof KeyValue,
      requestStream: false,
      responseType: KeyValue as typeof KeyValue,
      responseStream: true,
    },
    collect: {
      name: "Collect",
      requestType: KeyValue as typeof KeyValue,
      requestStream: true,
      responseType: KeyValue as typeof KeyValue,
      responseStream: false,
    },
    converse: {
      name: "Converse",
      requestType: KeyValue as typeof KeyValue,
      requestStream: true,
      responseType: KeyValue as typeof KeyValue,
      responseStream: true,
    },
  },
} as const satisfies ServiceDefinition;
