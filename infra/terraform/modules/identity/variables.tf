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

variable "endpoints_subnet_id" {
  description = "Required. Subnet of the private endpoints."
  type        = string
}

variable "vault_zone_id" {
  description = "Required. Private DNS zone of Key Vault."
  type        = string
}

variable "operator_ip_ranges" {
  description = "Required. Public address ranges of operators."
  type        = list(string)
}
