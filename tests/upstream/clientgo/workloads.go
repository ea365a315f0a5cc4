package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	autoscalingv1ac "k8s.io/client-go/applyconfigurations/autoscaling/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func bundles(group string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: "v1", Resource: "bundles"}
}

// define makes a kind of its own for a namespace and waits for its resource.
func define(ctx context.Context, c *Clients) (string, error) {
	group := c.Namespace + ".example"
	object := func(properties map[string]any) map[string]any {
		return map[string]any{"type": "object", "properties": properties}
	}
	whole := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	wanted := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "bundles." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"plural": "bundles", "kind": "Bundle"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"subresources": map[string]any{"status": map[string]any{}},
				"schema":       map[string]any{"openAPIV3Schema": object(map[string]any{"spec": whole, "status": whole})},
			}},
		},
	}}
	if _, err := c.Dynamic.Resource(definitions).Create(ctx, wanted, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	return group, until(ctx, "the kind is served", func(ctx context.Context) (bool, error) {
		_, err := c.Dynamic.Resource(bundles(group)).List(ctx, metav1.ListOptions{})
		return err == nil, nil
	})
}

func undefine(ctx context.Context, c *Clients, group string) error {
	return c.Dynamic.Resource(definitions).Delete(context.WithoutCancel(ctx), "bundles."+group, metav1.DeleteOptions{})
}

// defines a kind; its definition and its objects are seen by the dynamic client.
func defines(ctx context.Context, c *Clients) error {
	group, err := define(ctx, c)
	if err != nil {
		return err
	}
	stream, err := c.Dynamic.Resource(definitions).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=bundles." + group})
	if err != nil {
		return err
	}
	defer stream.Stop()
	if event := <-stream.ResultChan(); event.Object == nil {
		return errors.New("no event of the definition")
	}
	return undefine(ctx, c, group)
}

// controls has a controller with a queue make what Bundles own, and say so in their status; the rest is collected.
func controls(ctx context.Context, c *Clients) (err error) {
	group, err := define(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undefine(ctx, c, group)) }()
	running, stop := context.WithCancel(ctx)
	defer stop()
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(c.Dynamic, 0, c.Namespace, nil)
	informer := factory.ForResource(bundles(group)).Informer()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	add := func(o any) {
		key, _ := cache.DeletionHandlingMetaNamespaceKeyFunc(o)
		queue.Add(key)
	}
	handlers := cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, o any) { add(o) }, DeleteFunc: add}
	if _, err := informer.AddEventHandler(handlers); err != nil {
		return err
	}
	factory.Start(running.Done())
	factory.WaitForCacheSync(running.Done())
	for range 2 {
		go work(running, c, informer.GetIndexer(), queue, bundles(group))
	}
	defer queue.ShutDown()
	client := c.Dynamic.Resource(bundles(group)).Namespace(c.Namespace)
	bundle := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/v1", "kind": "Bundle", "metadata": map[string]any{"name": "one"}, "spec": map[string]any{"word": "hello"},
	}}
	if _, err := client.Create(ctx, bundle, metav1.CreateOptions{}); err != nil {
		return err
	}
	err = until(ctx, "its status says that it is done", func(ctx context.Context) (bool, error) {
		found, err := client.Get(ctx, "one", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		made, _, _ := unstructured.NestedString(found.Object, "status", "made")
		generation, _, _ := unstructured.NestedInt64(found.Object, "status", "observedGeneration")
		return made == "bundle-one" && generation == found.GetGeneration(), nil
	})
	if err != nil {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	if err := client.Delete(ctx, "one", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		return err
	}
	return until(ctx, "owner and owned are gone", func(ctx context.Context) (bool, error) {
		_, err := client.Get(ctx, "one", metav1.GetOptions{})
		_, owned := c.Typed.CoreV1().ConfigMaps(c.Namespace).Get(ctx, "bundle-one", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && apierrors.IsNotFound(owned), nil
	})
}

func work(ctx context.Context, c *Clients, known cache.Indexer, queue workqueue.TypedRateLimitingInterface[string], resource schema.GroupVersionResource) {
	for {
		key, shutdown := queue.Get()
		if shutdown {
			return
		}
		if err := reconcile(ctx, c, known, key, resource); err != nil {
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}

func reconcile(ctx context.Context, c *Clients, known cache.Indexer, key string, resource schema.GroupVersionResource) error {
	found, exists, err := known.GetByKey(key)
	if err != nil || !exists {
		return err
	}
	bundle := found.(*unstructured.Unstructured).DeepCopy()
	if bundle.GetDeletionTimestamp() != nil {
		return nil
	}
	wanted := configMap("bundle-" + bundle.GetName())
	wanted.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(bundle, bundle.GroupVersionKind())}
	_, err = c.Typed.CoreV1().ConfigMaps(bundle.GetNamespace()).Create(ctx, wanted, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	status := map[string]any{"made": wanted.Name, "observedGeneration": bundle.GetGeneration()}
	if err := unstructured.SetNestedMap(bundle.Object, status, "status"); err != nil {
		return err
	}
	_, err = c.Dynamic.Resource(resource).Namespace(bundle.GetNamespace()).UpdateStatus(ctx, bundle, metav1.UpdateOptions{})
	return err
}

// elects one leader of two; when it goes, the other leads.
func elects(ctx context.Context, c *Clients) error {
	led := make(chan string, 10)
	var leaders atomic.Int32
	stops := map[string]context.CancelFunc{}
	for _, identity := range []string{"one", "two"} {
		lock, err := resourcelock.New(resourcelock.LeasesResourceLock, c.Namespace, "election",
			c.Typed.CoreV1(), c.Typed.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: identity})
		if err != nil {
			return err
		}
		running, stop := context.WithCancel(ctx)
		defer stop()
		stops[identity] = stop
		go leaderelection.RunOrDie(running, leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 500 * time.Millisecond,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { leaders.Add(1); led <- identity },
				OnStoppedLeading: func() { leaders.Add(-1) },
			},
		})
	}
	first := <-led
	time.Sleep(2 * time.Second)
	if leaders.Load() != 1 {
		return fmt.Errorf("%d leaders", leaders.Load())
	}
	stops[first]()
	select {
	case second := <-led:
		if second == first {
			return errors.New("the same leads again")
		}
	case <-time.After(15 * time.Second): // before the lease is over: it was given up
		return errors.New("nobody leads")
	}
	lease, err := c.Typed.CoordinationV1().Leases(c.Namespace).Get(ctx, "election", metav1.GetOptions{})
	if err == nil && *lease.Spec.LeaseTransitions < 1 {
		err = fmt.Errorf("%d transitions", *lease.Spec.LeaseTransitions)
	}
	return err
}

// records events with both recorders; what repeats is counted.
func records(ctx context.Context, c *Clients) error {
	made, err := c.Typed.CoreV1().ConfigMaps(c.Namespace).Create(ctx, configMap("subject"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	old := record.NewBroadcaster()
	defer old.Shutdown()
	old.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.Typed.CoreV1().Events(c.Namespace)})
	recorder := old.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "clientgo"})
	for range 3 {
		recorder.Event(made, corev1.EventTypeNormal, "Told", "told again")
	}
	current := events.NewBroadcaster(&events.EventSinkImpl{Interface: c.Typed.EventsV1()})
	defer current.Shutdown()
	if err := current.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	for range 3 {
		// Each is sent by a goroutine of its own: one before the first would find nothing to count on, and wait.
		time.Sleep(200 * time.Millisecond)
		current.NewRecorder(scheme.Scheme, "example.com/clientgo").Eventf(made, nil, corev1.EventTypeNormal, "Acted", "Acting", "acted again")
	}
	return until(ctx, "both events are there, with their counts", func(ctx context.Context) (bool, error) {
		all, err := c.Typed.EventsV1().Events(c.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		var told, acted *eventsv1.Event
		for i, event := range all.Items {
			switch {
			case event.Reason == "Told":
				told = &all.Items[i]
			case event.Reason == "Acted":
				acted = &all.Items[i]
			}
		}
		return told != nil && told.DeprecatedCount == 3 && told.Note == "told again" &&
			acted != nil && acted.Series != nil && acted.Series.Count >= 2 && acted.Regarding.UID == made.UID, nil
	})
}

// scales by the typed and by the generic client, which finds kinds by discovery.
func scales(ctx context.Context, c *Clients) error {
	deployments := c.Typed.AppsV1().Deployments(c.Namespace)
	if _, err := deployments.Create(ctx, deployment("scaled", 0), metav1.CreateOptions{}); err != nil {
		return err
	}
	found, err := deployments.GetScale(ctx, "scaled", metav1.GetOptions{})
	if err != nil {
		return err
	}
	found.Spec.Replicas = 1
	if _, err := deployments.UpdateScale(ctx, "scaled", found, metav1.UpdateOptions{}); err != nil {
		return err
	}
	cached := memory.NewMemCacheClient(c.Typed.Discovery())
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	generic, err := scale.NewForConfig(c.Config, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(cached))
	if err != nil {
		return err
	}
	resource := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	scaled, err := generic.Scales(c.Namespace).Patch(ctx, resource, "scaled", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{})
	if err != nil || scaled.Spec.Replicas != 2 || scaled.Status.Selector != "app=clientgo" {
		return fmt.Errorf("scaled %v: %w", scaled, err)
	}
	wanted := autoscalingv1ac.Scale().WithSpec(autoscalingv1ac.ScaleSpec().WithReplicas(2))
	if _, err = deployments.ApplyScale(ctx, "scaled", wanted, metav1.ApplyOptions{FieldManager: "scaler", Force: true}); err != nil {
		return err
	}
	return until(ctx, "two are ready", func(ctx context.Context) (bool, error) {
		found, err := deployments.Get(ctx, "scaled", metav1.GetOptions{})
		return err == nil && found.Status.ReadyReplicas == 2 && found.Status.ObservedGeneration == found.Generation, err
	})
}

// evicts a pod, unless its budget says no: 429.
func evicts(ctx context.Context, c *Clients) error {
	pods := c.Typed.CoreV1().Pods(c.Namespace)
	if _, err := pods.Create(ctx, pod("kept", "sleep", "600"), metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := ready(ctx, c, "kept"); err != nil {
		return err
	}
	budgets := c.Typed.PolicyV1().PodDisruptionBudgets(c.Namespace)
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: named("kept"), Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: p(intstr.FromInt32(1)), Selector: selector()}}
	if _, err := budgets.Create(ctx, budget, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := until(ctx, "the budget is counted", func(ctx context.Context) (bool, error) {
		found, err := budgets.Get(ctx, "kept", metav1.GetOptions{})
		return err == nil && found.Status.ObservedGeneration == found.Generation && found.Status.CurrentHealthy == 1, err
	})
	if err != nil {
		return err
	}
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	err = pods.EvictV1(ctx, eviction)
	if !apierrors.IsTooManyRequests(err) || !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
		return fmt.Errorf("against the budget: %v", err)
	}
	if err := budgets.Delete(ctx, "kept", metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := pods.EvictV1(ctx, eviction); err != nil {
		return err
	}
	return until(ctx, "the pod is gone", func(ctx context.Context) (bool, error) {
		_, err := pods.Get(ctx, "kept", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func ready(ctx context.Context, c *Clients, name string) error {
	return until(ctx, name+" is ready", func(ctx context.Context) (bool, error) {
		found, err := c.Typed.CoreV1().Pods(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, condition := range found.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
}
