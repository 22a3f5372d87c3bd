output "scale_set_id" {
  description = "Resource id of the regular scale set."
  value       = module.regular.id
}

output "scale_set_name" {
  description = "Name of the regular scale set."
  value       = module.regular.name
}

output "spot_set_id" {
  description = "Resource id of the Spot set, null without one."
  value       = one(module.spot[*].id)
}
