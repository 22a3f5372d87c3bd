// Copy to main.bicepparam and fill in. The digests are in the .sha256 files beside the archives.
using 'main.bicep'

param name = 'nightread1'
param shape = 'dev'
param workerArchiveName = 'nightread-1.0.0-linux-x86_64.tar.gz'
param workerArchiveSha256 = '0000000000000000000000000000000000000000000000000000000000000000'
param brokerPackagesName = 'broker-packages-rabbitmq-4.2.5-1.tar.gz'
param brokerPackagesSha256 = '0000000000000000000000000000000000000000000000000000000000000000'
param precision = 'fp32'
param adminSshPublicKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA operator@example.org'
param alertEmail = 'team@example.org'
