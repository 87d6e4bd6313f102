/** The host or this build cannot compute where the deployment asks for: the settings are wrong, not the model. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError';
}
