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

variable "zones" {
  description = "Required. Availability zones."
  type        = list(string)
}

variable "vm_size" {
  description = "Required. Size of the workers."
  type        = string
}

variable "capacity" {
  description = "Required. Workers at deployment."
  type        = number
}

variable "spot" {
  description = "Required. True for machines that can be evicted."
  type        = bool
}

variable "subnet_id" {
  description = "Required. Subnet of the machines."
  type        = string
}

variable "identity_id" {
  description = "Required. Identity of the machines."
  type        = string
}

variable "custom_data" {
  description = "Required. Rendered cloud-init of the workers."
  type        = string
}

variable "admin_ssh_public_key" {
  description = "Required. Public key of the administrator."
  type        = string
}
