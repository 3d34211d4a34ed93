/** The version of hull: package.json's. */
export const VERSION = "0.1.0";
