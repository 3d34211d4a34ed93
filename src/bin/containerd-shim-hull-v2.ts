// biome-ignore lint/style/useNodejsImportProtocol: the C module of guest-agent/sys, not Node's
import * as sys from "sys";
import { runLauncher } from "../shim/bootstrap/launcher.ts";

sys.exit(runLauncher(sys, sys.argv().slice(1)));
