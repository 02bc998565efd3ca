variable "state_passphrase" {
  description = "Encrypts state and plans: TF_VAR_state_passphrase, a variable of this project."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.state_passphrase) >= 32
    error_message = "TF_VAR_state_passphrase is empty or too short; it is a protected variable of the project (Settings > CI/CD > Variables), so only jobs of protected branches get it."
  }
}
