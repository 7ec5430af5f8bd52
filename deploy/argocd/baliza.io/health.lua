-- Health of Baliza's own objects, for the key
-- resource.customizations.health.baliza.io_KIND of argocd-cm; one script serves all kinds.
local health = { status = "Progressing", message = "Baliza has not looked at it yet" }
if obj.status == nil then
  return health
end
local generation = obj.metadata.generation
if generation ~= nil and obj.status.observedGeneration ~= nil and obj.status.observedGeneration ~= generation then
  return health
end
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    health.status = "Degraded"
    health.message = condition.message
    return health
  end
  if condition.type == "Ready" then
    health.message = condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    end
  end
end
return health
