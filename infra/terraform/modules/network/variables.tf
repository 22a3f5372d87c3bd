variable "name" {
  description = "Required. Name of the deployment, part of every resource name."
  type        = string
}

variable "location" {
  description = "Required. Azure region."
  type        = string
}

variable "resource_group_name" {
  description = "Required. Resource group."
  type        = string
}

variable "package_mirror_ranges" {
  description = "Required. Addresses of a package mirror for the brokers; empty leaves them without a way to any."
  type        = list(string)
}
