package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
)

// resourceClient is what every typed client has.
type resourceClient[T metav1.Object] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Get(context.Context, string, metav1.GetOptions) (T, error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// live leads one object through its life.
func live[T metav1.Object](ctx context.Context, client resourceClient[T], wanted T) error {
	made, err := client.Create(ctx, wanted, metav1.CreateOptions{FieldValidation: "Strict"})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	name := made.GetName()
	_, err = client.Create(ctx, wanted, metav1.CreateOptions{DryRun: []string{"All"}})
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create again: %v", err)
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if made, err = client.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		made.SetAnnotations(map[string]string{"a": "1"})
		made, err = client.Update(ctx, made, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	for kind, body := range map[types.PatchType]string{
		types.MergePatchType:          `{"metadata":{"annotations":{"b":"2"}}}`,
		types.StrategicMergePatchType: `{"metadata":{"annotations":{"c":"3"}}}`,
		types.JSONPatchType:           `[{"op":"add","path":"/metadata/annotations/d","value":"4"}]`,
	} {
		if made, err = client.Patch(ctx, name, kind, []byte(body), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	if found := len(made.GetAnnotations()); found < 4 {
		return fmt.Errorf("%d of 4 annotations", found)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stream, err := client.Watch(limited, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: made.GetResourceVersion()})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer stream.Stop()
	background, now := metav1.DeletePropagationBackground, int64(0)
	options := metav1.DeleteOptions{PropagationPolicy: &background, GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(made.GetUID()))}
	if err := client.Delete(ctx, name, options); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	for event := range stream.ResultChan() {
		if event.Type == watch.Deleted {
			return nil
		}
	}
	return errors.New("no event of the deletion")
}

// speaksProtobuf leads objects of many kinds through their lives, sent in protobuf.
func speaksProtobuf(ctx context.Context, c *Clients) error {
	for _, accepts := range []string{"", runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON} {
		config := rest.CopyConfig(c.Config)
		config.ContentType = runtime.ContentTypeProtobuf
		config.AcceptContentTypes = accepts
		if err := liveAll(ctx, newClients(config, c.Namespace)); err != nil {
			return fmt.Errorf("accepting %q: %w", accepts, err)
		}
	}
	return nil
}

func liveAll(ctx context.Context, c *Clients) error {
	t, ns := c.Typed, c.Namespace
	meta := named("life")
	rules := []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
	unique := named(ns + "-life")
	failures := map[string]error{
		"ConfigMap":             live(ctx, t.CoreV1().ConfigMaps(ns), configMap("life")),
		"Secret":                live(ctx, t.CoreV1().Secrets(ns), &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"k": {0, 255}}}),
		"ServiceAccount":        live(ctx, t.CoreV1().ServiceAccounts(ns), &corev1.ServiceAccount{ObjectMeta: meta}),
		"Pod":                   live(ctx, t.CoreV1().Pods(ns), pod("life", "sleep", "600")),
		"LimitRange":            live(ctx, t.CoreV1().LimitRanges(ns), &corev1.LimitRange{ObjectMeta: meta, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypePod, Max: corev1.ResourceList{"cpu": resource.MustParse("2")}}}}}),
		"ResourceQuota":         live(ctx, t.CoreV1().ResourceQuotas(ns), &corev1.ResourceQuota{ObjectMeta: meta, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("50")}}}),
		"Event":                 live(ctx, t.CoreV1().Events(ns), &corev1.Event{ObjectMeta: meta, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: "x"}, Reason: "Lived", Type: "Normal", FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(), Count: 1}),
		"PersistentVolumeClaim": live(ctx, t.CoreV1().PersistentVolumeClaims(ns), &corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: p("none"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Mi")}}}}),
		"Service":               live(ctx, t.CoreV1().Services(ns), &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: labels, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("web"), AppProtocol: p("http")}}}}),
		"Deployment":            live(ctx, t.AppsV1().Deployments(ns), deployment("life", 0)),
		"Job":                   live(ctx, t.BatchV1().Jobs(ns), &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Suspend: p(true), Template: corev1.PodTemplateSpec{Spec: onFailure()}}}),
		"CronJob":               live(ctx, t.BatchV1().CronJobs(ns), &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "@yearly", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: onFailure()}}}}}),
		"HorizontalPodAutoscaler": live(ctx, t.AutoscalingV2().HorizontalPodAutoscalers(ns), &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: meta, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 3, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "life"},
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: p(int32(50))}}}}}}),
		"Ingress":             live(ctx, t.NetworkingV1().Ingresses(ns), &networkingv1.Ingress{ObjectMeta: meta, Spec: networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "life", Port: networkingv1.ServiceBackendPort{Number: 80}}}}}),
		"NetworkPolicy":       live(ctx, t.NetworkingV1().NetworkPolicies(ns), &networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}}, {NamespaceSelector: &metav1.LabelSelector{}}}}}}}),
		"EndpointSlice":       live(ctx, t.DiscoveryV1().EndpointSlices(ns), &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: "IPv4", Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.2.3"}, Conditions: discoveryv1.EndpointConditions{Ready: p(false)}}}, Ports: []discoveryv1.EndpointPort{{Port: p(int32(80))}}}),
		"Lease":               live(ctx, t.CoordinationV1().Leases(ns), &coordinationv1.Lease{ObjectMeta: meta, Spec: coordinationv1.LeaseSpec{HolderIdentity: p("me"), RenewTime: p(metav1.NowMicro())}}),
		"PodDisruptionBudget": live(ctx, t.PolicyV1().PodDisruptionBudgets(ns), &policyv1.PodDisruptionBudget{ObjectMeta: meta, Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: p(intstr.FromString("50%")), Selector: selector()}}),
		"Role":                live(ctx, t.RbacV1().Roles(ns), &rbacv1.Role{ObjectMeta: meta, Rules: rules}),
		"ClusterRole":         live(ctx, t.RbacV1().ClusterRoles(), &rbacv1.ClusterRole{ObjectMeta: unique, Rules: rules}),
		"StorageClass":        live(ctx, t.StorageV1().StorageClasses(), &storagev1.StorageClass{ObjectMeta: unique, Provisioner: "example.com/none"}),
	}
	var all []error
	for kind, err := range failures {
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", kind, err))
		}
	}
	return errors.Join(all...)
}

func onFailure() corev1.PodSpec {
	spec := podSpec("true")
	spec.RestartPolicy = corev1.RestartPolicyOnFailure
	return spec
}

// applies by server-side apply: what one manager owns another may not change but by force.
func applies(ctx context.Context, c *Clients) error {
	deployments := c.Typed.AppsV1().Deployments(c.Namespace)
	container := corev1ac.Container().WithName("c").WithImage("netpod.dev/host").WithCommand("sleep", "600")
	wanted := appsv1ac.Deployment("applied", c.Namespace).WithSpec(appsv1ac.DeploymentSpec().WithReplicas(0).
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(corev1ac.PodTemplateSpec().WithLabels(labels).WithSpec(corev1ac.PodSpec().WithContainers(container))))
	made, err := deployments.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "first"})
	if err != nil {
		return err
	}
	owned, err := appsv1ac.ExtractDeployment(made, "first")
	if err != nil || owned.Spec == nil || *owned.Spec.Replicas != 0 || len(owned.Spec.Template.Spec.Containers) != 1 {
		return fmt.Errorf("extracted %v: %w", owned, err)
	}
	rival := appsv1ac.Deployment("applied", c.Namespace).WithSpec(appsv1ac.DeploymentSpec().WithReplicas(2))
	_, err = deployments.Apply(ctx, rival, metav1.ApplyOptions{FieldManager: "second"})
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("a rival's replicas: %v", err)
	}
	if made, err = deployments.Apply(ctx, rival, metav1.ApplyOptions{FieldManager: "second", Force: true}); err != nil || *made.Spec.Replicas != 2 {
		return fmt.Errorf("by force: %w", err)
	}
	wanted.Spec.Replicas = nil
	if made, err = deployments.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "first"}); err != nil || *made.Spec.Replicas != 2 {
		return fmt.Errorf("given up: %w", err)
	}
	status := appsv1ac.Deployment("applied", c.Namespace).WithStatus(appsv1ac.DeploymentStatus().WithConditions(
		appsv1ac.DeploymentCondition().WithType("example.com/Checked").WithStatus("True")))
	_, err = deployments.ApplyStatus(ctx, status, metav1.ApplyOptions{FieldManager: "checker"})
	return err
}

// retries has eight writers count in one object, each trying again where another was first.
func retries(ctx context.Context, c *Clients) error {
	maps := c.Typed.CoreV1().ConfigMaps(c.Namespace)
	if _, err := maps.Create(ctx, configMap("counter"), metav1.CreateOptions{}); err != nil {
		return err
	}
	patient := wait.Backoff{Steps: 100, Duration: 5 * time.Millisecond, Factor: 1.1, Jitter: 1}
	var group sync.WaitGroup
	failures := make([]error, 8)
	for writer := range failures {
		group.Add(1)
		go func() {
			defer group.Done()
			for round := range 5 {
				failures[writer] = errors.Join(failures[writer], retry.RetryOnConflict(patient, func() error {
					found, err := maps.Get(ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					found.Data[fmt.Sprintf("w%d-%d", writer, round)] = ""
					_, err = maps.Update(ctx, found, metav1.UpdateOptions{})
					return err
				}))
			}
		}()
	}
	group.Wait()
	found, err := maps.Get(ctx, "counter", metav1.GetOptions{})
	if err == nil && len(found.Data) != 1+8*5 {
		err = fmt.Errorf("%d of 40 writes are there", len(found.Data)-1)
	}
	return errors.Join(append(failures, err)...)
}
