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

variable "resource_group_id" {
  description = "Required. Resource id of the group, in which autoscale failures are looked for."
  type        = string
}

variable "alert_email" {
  description = "Required. Where alerts are sent."
  type        = string
}

variable "scale_set_id" {
  description = "Required. Resource id of the regular scale set, the subject of the backlog metrics."
  type        = string
}

variable "spot_set_ids" {
  description = "Required. The Spot set, if there is one."
  type        = map(string)
}

variable "broker_ids" {
  description = "Required. Virtual machines of the brokers."
  type        = map(string)
}

variable "topic_id" {
  description = "Required. Event Grid system topic."
  type        = string
}

variable "log_sources" {
  description = "Required. Services whose logs are collected."
  type        = map(string)
}
