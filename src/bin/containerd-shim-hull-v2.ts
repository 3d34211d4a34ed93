// biome-ignore lint/style/useNodejsImportProtocol: the C module of guest-agent/sys, not Node's
import * as sys from "sys";
import { front } from "../shim/bootstrap/front.ts";

sys.exit(front(sys, sys.argv().slice(1)));
