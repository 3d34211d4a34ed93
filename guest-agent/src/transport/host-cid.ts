/** VMADDR_CID_HOST (vsock(7)): the host's context id, whoever carries the vsock there. */
export const HOST_CID = 2;
