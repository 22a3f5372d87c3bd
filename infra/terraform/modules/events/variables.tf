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

variable "data_account_id" {
  description = "Required. Account whose new blobs are announced."
  type        = string
}

variable "ops_account_id" {
  description = "Required. Account of the queue and of the dead letters."
  type        = string
}

variable "events_identity_id" {
  description = "Required. Identity with which events are delivered."
  type        = string
}

variable "series_prefix" {
  description = "Required. Start of the names of files of CT series, which have a queue of their own; empty for none."
  type        = string
}
