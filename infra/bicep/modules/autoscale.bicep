metadata description = 'Autoscale of one scale set: fixed until the backlog metric has been seen, then by seconds of work per worker, by day and by night.'

@description('Required. Name of the autoscale setting.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Scale set that is scaled.')
param targetId string

@description('Required. Scale set about which the backlog metric is published.')
param metricResourceId string

@description('Required. Rules to use: regular or spot.')
param kind string

@description('Required. Shape of the deployment: dev or prod.')
param shape string

@description('Required. False holds the capacity still; true adds the rules.')
param onBacklog bool

@description('Required. Number of workers while the capacity is held still.')
param fixedCapacity int

var settings = loadJsonContent('../../shared/settings.json')
var autoscale = settings.autoscale
var metrics = settings.metrics
var rules = autoscale[kind]
var capacities = settings.shapes[shape][kind]
var days = [
  'Monday'
  'Tuesday'
  'Wednesday'
  'Thursday'
  'Friday'
  'Saturday'
  'Sunday'
]
var backlogRules = [
  {
    metricTrigger: {
      metricName: metrics.backlogSecondsPerWorker
      metricNamespace: metrics.namespace
      metricResourceUri: metricResourceId
      operator: 'GreaterThan'
      // Every broker publishes the whole backlog: a sum would count it once per broker.
      statistic: 'Max'
      timeAggregation: 'Average'
      timeGrain: 'PT1M'
      timeWindow: 'PT${rules.scaleOut.windowMinutes}M'
      threshold: rules.scaleOut.thresholdSecondsPerWorker
      dividePerInstance: false
    }
    scaleAction: {
      direction: 'Increase'
      type: 'ChangeCount'
      value: string(rules.scaleOut.instances)
      cooldown: 'PT${rules.scaleOut.cooldownMinutes}M'
    }
  }
  {
    metricTrigger: {
      metricName: metrics.backlogSecondsPerWorker
      metricNamespace: metrics.namespace
      metricResourceUri: metricResourceId
      operator: 'LessThan'
      statistic: 'Max'
      timeAggregation: 'Average'
      timeGrain: 'PT1M'
      timeWindow: 'PT${rules.scaleIn.windowMinutes}M'
      threshold: rules.scaleIn.thresholdSecondsPerWorker
      dividePerInstance: false
    }
    scaleAction: {
      direction: 'Decrease'
      type: 'ChangeCount'
      value: string(rules.scaleIn.instances)
      cooldown: 'PT${rules.scaleIn.cooldownMinutes}M'
    }
  }
]
var fixedProfiles = [
  {
    name: 'fixed'
    capacity: {
      minimum: string(fixedCapacity)
      default: string(fixedCapacity)
      maximum: string(fixedCapacity)
    }
    rules: []
  }
]
var backlogProfiles = [
  {
    name: 'day'
    capacity: {
      minimum: string(capacities.day.minimum)
      default: string(capacities.day.default)
      maximum: string(capacities.day.maximum)
    }
    recurrence: {
      frequency: 'Week'
      schedule: {
        timeZone: autoscale.timeZone
        days: days
        hours: [
          autoscale.profileStartHours.day
        ]
        minutes: [
          0
        ]
      }
    }
    rules: backlogRules
  }
  {
    name: 'night'
    capacity: {
      minimum: string(capacities.night.minimum)
      default: string(capacities.night.default)
      maximum: string(capacities.night.maximum)
    }
    recurrence: {
      frequency: 'Week'
      schedule: {
        timeZone: autoscale.timeZone
        days: days
        hours: [
          autoscale.profileStartHours.night
        ]
        minutes: [
          0
        ]
      }
    }
    rules: backlogRules
  }
]

resource setting 'Microsoft.Insights/autoscalesettings@2022-10-01' = {
  name: name
  location: location
  properties: {
    enabled: true
    name: name
    targetResourceUri: targetId
    profiles: onBacklog ? backlogProfiles : fixedProfiles
  }
}

@description('Name of the autoscale setting.')
output name string = setting.name
