/** The kernel parameter by which a guest knows that it will be saved as a template as soon as it is ready. */
export const TEMPLATE_PARAMETER = "hull.template";
