output "registry_server" {
  description = "Server of the registry, to which the image is pushed."
  value       = local.server
}
