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

variable "target_resource_id" {
  description = "Required. Resource behind the endpoint."
  type        = string
}

variable "group_id" {
  description = "Required. Sub-resource: blob, queue or vault."
  type        = string
}

variable "zone_id" {
  description = "Required. Private DNS zone of the sub-resource."
  type        = string
}
