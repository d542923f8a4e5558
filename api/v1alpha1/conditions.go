// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Conditions of an MCPServer. Every message names the field and the next act.
const (
	// ConditionAccepted is True when the spec compiles and was applied; False
	// names the field that is wrong, and the last accepted configuration keeps
	// serving; Unknown while the server is paused.
	ConditionAccepted = "Accepted"
	// ConditionAvailable is True while pods answer, of whichever generation.
	ConditionAvailable = "Available"
	// ConditionReady is True when the current generation serves: it is
	// accepted and all of its pods are ready.
	ConditionReady = "Ready"
	// ConditionReconciling exists only while the operator works towards the
	// current generation (kstatus: InProgress).
	ConditionReconciling = "Reconciling"
	// ConditionStalled exists only while nothing but a change by a person can
	// help (kstatus: Failed).
	ConditionStalled = "Stalled"
)

// Reasons that conditions carry.
const (
	// ReasonAccepted: the spec compiled.
	ReasonAccepted = "Accepted"
	// ReasonInvalidSpec: a field does not compile; the message has its path.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNameConflict: a child's name is taken by an object that is not ours.
	ReasonNameConflict = "NameConflict"
	// ReasonApplyRefused: the API server refused a child, by validation, quota
	// or policy; the message has its words. It is tried again every minute.
	ReasonApplyRefused = "ApplyRefused"
	// ReasonConfigTooLarge: the compiled configuration exceeds 480 KiB.
	ReasonConfigTooLarge = "ConfigTooLarge"
	// ReasonPaused: spec.managementState is Paused.
	ReasonPaused = "Paused"
	// ReasonServing: pods of the current generation answer.
	ReasonServing = "Serving"
	// ReasonScaledToZero: spec.replicas is 0, as asked.
	ReasonScaledToZero = "ScaledToZero"
	// ReasonPodsNotReady: pods exist and are not ready yet.
	ReasonPodsNotReady = "PodsNotReady"
	// ReasonPodFailure: a pod cannot start; the message says why.
	ReasonPodFailure = "PodFailure"
	// ReasonProgressDeadlineExceeded: the roll-out made no progress in time.
	ReasonProgressDeadlineExceeded = "ProgressDeadlineExceeded"
	// ReasonRollingOut: new pods replace old ones.
	ReasonRollingOut = "RollingOut"
)
