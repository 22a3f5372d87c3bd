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

variable "target_id" {
  description = "Required. Scale set that is scaled."
  type        = string
}

variable "metric_resource_id" {
  description = "Required. Scale set about which the backlog metric is published."
  type        = string
}

variable "kind" {
  description = "Required. Rules to use: regular or spot."
  type        = string
}

variable "shape" {
  description = "Required. Shape of the deployment: dev or prod."
  type        = string
}

variable "on_backlog" {
  description = "Required. False holds the capacity still; true adds the rules."
  type        = bool
}

variable "fixed_capacity" {
  description = "Required. Workers while the capacity is held still."
  type        = number
}
