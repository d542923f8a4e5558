-- Copyright The Fairlead Authors.
-- SPDX-License-Identifier: Apache-2.0

-- Argo CD's health of an MCPServer. docs/guides/gitops.md says where it goes.
local function condition(name)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, c in ipairs(obj.status.conditions) do
      if c.type == name then
        return c
      end
    end
  end
  return nil
end

local function is_true(c)
  return c ~= nil and c.status == "True"
end

local ready = condition("Ready")

-- A status of an older generation says nothing about this one.
if ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator"}
end

local stalled = condition("Stalled")
if is_true(stalled) then
  return {status = "Degraded", message = stalled.message}
end
if ready.reason == "Paused" or ready.reason == "ScaledToZero" then
  return {status = "Suspended", message = ready.message}
end
if not is_true(ready) then
  return {status = "Progressing", message = ready.message}
end
local degraded = condition("Degraded")
if is_true(degraded) then
  return {status = "Degraded", message = degraded.message}
end
return {status = "Healthy", message = ready.message}
