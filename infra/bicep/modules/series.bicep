metadata description = 'No resource: what one must say of CT series is said in whole, or the deployment ends before anything is made.'

@description('Required. Start of the names of files of series.')
@minLength(1)
@maxLength(200)
param prefix string

@description('Required. Model that reads the series.')
@minLength(1)
@maxLength(64)
param model string

@description('Required. Containers take no settings file, and so no route: series are read by machines.')
@allowed([
  'scaleSets'
])
param compute string

@description('Start of the names of files of series.')
output prefix string = prefix

@description('Model that reads the series.')
output model string = model

@description('What workers run on.')
output compute string = compute
