metadata description = 'Deploys nothing: its decorators refuse what is no IPv4 address, and what is wider than /24.'

@description('Required. How many numbers the address has.')
@minValue(4)
@maxValue(4)
param octets int

@description('Required. The first number of the address.')
@minValue(0)
@maxValue(255)
param first int

@description('Required. The second number of the address.')
@minValue(0)
@maxValue(255)
param second int

@description('Required. The third number of the address.')
@minValue(0)
@maxValue(255)
param third int

@description('Required. The fourth number of the address.')
@minValue(0)
@maxValue(255)
param fourth int

@description('Required. Length of the prefix; 32 of a single address.')
@minValue(24)
@maxValue(32)
param prefix int

@description('The range as it was understood.')
output range string = '${first}.${second}.${third}.${fourth}/${prefix} (${octets})'
