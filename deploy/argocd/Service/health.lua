-- Health of Services, for the key resource.customizations.health.Service of argocd-cm:
-- as Argo CD's own, but a load balancer that Baliza serves is healthy only once it is
-- announced, and degraded where waiting for it is in vain.
local health = { status = "Healthy" }
if obj.spec.type ~= "LoadBalancer" then
  return health
end
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.status == "True" then
    if condition.type == "Stalled" then
      return { status = "Degraded", message = condition.message }
    end
    if condition.type == "Reconciling" then
      return { status = "Progressing", message = condition.message }
    end
    if condition.type == "baliza.io/Announced" then
      health.message = condition.message
    end
  end
end
local balancer = (obj.status or {}).loadBalancer
if balancer == nil or balancer.ingress == nil or #balancer.ingress == 0 then
  return { status = "Progressing", message = "no address yet" }
end
return health
