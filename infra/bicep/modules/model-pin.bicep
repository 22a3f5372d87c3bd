metadata description = 'Refuses what is no pin of a model: NAME@sha256:DIGEST. It makes nothing.'

@description('Required. Parts of the pin between at-signs.')
@minValue(2)
@maxValue(2)
param parts int

@description('Required. Name of the model.')
@minLength(1)
@maxLength(64)
param model string

@description('Required. What the digest is made by.')
@allowed([
  'sha256'
])
param algorithm string

@description('Required. Digest of the version, 64 hexadecimal digits.')
@minLength(64)
@maxLength(64)
param digest string
