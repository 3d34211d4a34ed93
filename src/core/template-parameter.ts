/**
 * The kernel parameter that announces to the agent that its VM will be saved as a template once it is ready.
 */
export const TEMPLATE_PARAMETER = "hull.template";
