output "ids" {
  description = "Virtual machines of the brokers, by index."
  value       = { for i, vm in azurerm_linux_virtual_machine.this : i => vm.id }
}
