/** VMADDR_CID_HOST (vsock(7)): the host's context id with every vsock backend. */
export const HOST_CID = 2;
