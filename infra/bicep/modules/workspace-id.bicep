metadata description = 'Deploys nothing: its decorators refuse what is no resource id of an Azure Monitor workspace.'

@description('Required. How many parts the id has, with the empty one before its first slash.')
@minValue(9)
@maxValue(9)
param parts int

@description('Required. What stands before the first slash.')
@maxLength(0)
param before string

@description('Required. The word before the subscription.')
@allowed([
  'subscriptions'
])
param subscriptionWord string

@description('Required. The subscription.')
@minLength(1)
param subscriptionId string

@description('Required. The word before the resource group.')
@allowed([
  'resourceGroups'
])
param groupWord string

@description('Required. The resource group.')
@minLength(1)
param groupName string

@description('Required. The word before the provider.')
@allowed([
  'providers'
])
param providerWord string

@description('Required. The provider; Azure writes it both ways.')
@allowed([
  'Microsoft.Monitor'
  'Microsoft.monitor'
  'microsoft.Monitor'
  'microsoft.monitor'
])
param provider string

@description('Required. The kind of the resource.')
@allowed([
  'accounts'
])
param kind string

@description('Required. The workspace.')
@minLength(1)
param workspace string

@description('The id as it was understood.')
output id string = '${before}/${subscriptionWord}/${subscriptionId}/${groupWord}/${groupName}/${providerWord}/${provider}/${kind}/${workspace} (${parts})'
