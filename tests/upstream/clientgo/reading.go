package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
)

// discovers finds groups, resources, preferred versions and mappings, from memory the second time.
func discovers(ctx context.Context, c *Clients) error {
	cached := memory.NewMemCacheClient(c.Typed.Discovery())
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, nil)
	for short, kind := range map[string]string{"deploy": "Deployment", "netpol": "NetworkPolicy", "po": "Pod", "crd": "CustomResourceDefinition"} {
		full, err := mapper.KindFor(schema.GroupVersionResource{Resource: short})
		if err != nil || full.Kind != kind {
			return fmt.Errorf("%s is %v: %w", short, full, err)
		}
	}
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"})
	if err != nil || mapping.Resource.Version != "v1" {
		return fmt.Errorf("Ingress: %v %w", mapping, err)
	}
	version, err := c.Typed.Discovery().ServerVersion()
	if err != nil || version.Major != "1" {
		return fmt.Errorf("version %v: %w", version, err)
	}
	document, err := c.Typed.Discovery().OpenAPISchema()
	if err != nil || len(document.Definitions.AdditionalProperties) < 100 {
		return fmt.Errorf("OpenAPI v2: %w", err)
	}
	paths, err := c.Typed.Discovery().OpenAPIV3().Paths()
	if err != nil || paths["apis/apps/v1"] == nil {
		return fmt.Errorf("OpenAPI v3: %w", err)
	}
	_, err = mapper.KindFor(schema.GroupVersionResource{Resource: "nosuch"})
	if err == nil {
		return fmt.Errorf("nosuch has a kind")
	}
	return nil
}

// watchable names what can be listed and watched in the preferred versions.
func watchable(c *Clients) ([]schema.GroupVersionResource, error) {
	lists, err := c.Typed.Discovery().ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	lists = discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "watch"}}, lists)
	found, err := discovery.GroupVersionResources(lists)
	var all []schema.GroupVersionResource
	for resource := range found {
		all = append(all, resource)
	}
	return all, err
}

// follow starts an informer and says what comes of ConfigMaps by name.
type seen struct{ added, changed, deleted chan string }

func follow(informer cache.SharedIndexInformer) (*seen, error) {
	s := &seen{make(chan string, 100), make(chan string, 100), make(chan string, 100)}
	name := func(o any) string {
		key, _ := cache.DeletionHandlingMetaNamespaceKeyFunc(o)
		return key
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { s.added <- name(o) },
		UpdateFunc: func(_, o any) { s.changed <- name(o) },
		DeleteFunc: func(o any) { s.deleted <- name(o) },
	})
	return s, err
}

func (s *seen) expect(ctx context.Context, key string) error {
	for what, events := range map[string]chan string{"added": s.added, "changed": s.changed, "deleted": s.deleted} {
		if err := await(ctx, events, key); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func await(ctx context.Context, events chan string, key string) error {
	for {
		select {
		case found := <-events:
			if found == key {
				return nil
			}
		case <-time.After(patience):
			return fmt.Errorf("no event of %s", key)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stir makes, changes and deletes a ConfigMap.
func stir(ctx context.Context, c *Clients, name string) error {
	maps := c.Typed.CoreV1().ConfigMaps(c.Namespace)
	made, err := maps.Create(ctx, configMap(name), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Data["a"] = "2"
	if _, err = maps.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return maps.Delete(ctx, name, metav1.DeleteOptions{})
}

// counting counts the lists that are streamed.
type counting struct {
	http.RoundTripper
	lists, streamed atomic.Int32
}

func (t *counting) RoundTrip(request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	if query.Get("watch") == "" {
		t.lists.Add(1)
	} else if query.Get("sendInitialEvents") == "true" {
		t.streamed.Add(1)
	}
	return t.RoundTripper.RoundTrip(request)
}

// informs has typed and dynamic informers of all there is agree, and see what happens.
func informs(ctx context.Context, c *Clients) error {
	count := &counting{}
	config := rest.CopyConfig(c.Config)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { count.RoundTripper = inner; return count })
	watched := newClients(config, c.Namespace)
	resources, err := watchable(c)
	if err != nil {
		return err
	}
	count.lists.Store(0)
	typed := informers.NewSharedInformerFactory(watched.Typed, 0)
	dynamic := dynamicinformer.NewDynamicSharedInformerFactory(watched.Dynamic, 0)
	both := 0
	for _, resource := range resources {
		dynamic.ForResource(resource).Informer()
		if _, err := typed.ForResource(resource); err == nil {
			both++
		}
	}
	if both < 30 {
		return fmt.Errorf("only %d of %d kinds are known to client-go", both, len(resources))
	}
	maps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	one, err := follow(typed.Core().V1().ConfigMaps().Informer())
	if err != nil {
		return err
	}
	other, err := follow(dynamic.ForResource(maps).Informer())
	if err != nil {
		return err
	}
	typed.Start(ctx.Done())
	dynamic.Start(ctx.Done())
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for kind, synced := range typed.WaitForCacheSync(limit.Done()) {
		if !synced {
			return fmt.Errorf("%v is not synchronized", kind)
		}
	}
	for kind, synced := range dynamic.WaitForCacheSync(limit.Done()) {
		if !synced {
			return fmt.Errorf("%v is not synchronized", kind)
		}
	}
	fmt.Printf("  %d kinds typed, %d dynamic; %d lists, %d streamed\n", both, len(resources), count.lists.Load(), count.streamed.Load())
	if err := stir(ctx, c, "stirred"); err != nil {
		return err
	}
	key := c.Namespace + "/stirred"
	if err := one.expect(ctx, key); err != nil {
		return fmt.Errorf("typed: %w", err)
	}
	if err := other.expect(ctx, key); err != nil {
		return fmt.Errorf("dynamic: %w", err)
	}
	return nil
}

// informsOfMetadata sees PartialObjectMetadata alone.
func informsOfMetadata(ctx context.Context, c *Clients) error {
	client := metadata.NewForConfigOrDie(c.Config)
	resources, err := watchable(c)
	if err != nil {
		return err
	}
	factory := metadatainformer.NewSharedInformerFactory(client, 0)
	for _, resource := range resources {
		factory.ForResource(resource).Informer()
	}
	s, err := follow(factory.ForResource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Informer())
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for kind, synced := range factory.WaitForCacheSync(limit.Done()) {
		if !synced {
			return fmt.Errorf("%v is not synchronized", kind)
		}
	}
	if err := stir(ctx, c, "stirred"); err != nil {
		return err
	}
	return s.expect(ctx, c.Namespace+"/stirred")
}

// relists begins its watch at the oldest revision; where that is compacted away, the reflector lists again.
func relists(ctx context.Context, c *Clients) error {
	maps := c.Typed.CoreV1().ConfigMaps(c.Namespace)
	if _, err := maps.Create(ctx, configMap("before"), metav1.CreateOptions{}); err != nil {
		return err
	}
	var lists, expired atomic.Int32
	source := &cache.ListWatch{
		ListFunc: func(options metav1.ListOptions) (runtime.Object, error) {
			found, err := maps.List(ctx, options)
			if lists.Add(1) == 1 && err == nil {
				found.ResourceVersion = "1"
				found.Items = nil
			}
			return found, err
		},
		WatchFunc: func(options metav1.ListOptions) (watch.Interface, error) {
			if options.SendInitialEvents != nil {
				return nil, apierrors.NewBadRequest("this one lists")
			}
			stream, err := maps.Watch(ctx, options)
			if err != nil {
				return nil, err
			}
			return watch.Filter(stream, func(event watch.Event) (watch.Event, bool) {
				if event.Type == watch.Error && apierrors.IsResourceExpired(apierrors.FromObject(event.Object)) {
					expired.Add(1)
				}
				return event, true
			}), nil
		},
	}
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	go cache.NewReflector(source, &corev1.ConfigMap{}, store, 0).Run(ctx.Done())
	err := until(ctx, "the store has what was there", func(context.Context) (bool, error) {
		_, found, _ := store.GetByKey(c.Namespace + "/before")
		return found, nil
	})
	fmt.Printf("  %d lists, %d watches told 410\n", lists.Load(), expired.Load())
	if expired.Load() > 0 && lists.Load() < 2 {
		return fmt.Errorf("told 410 and did not list again")
	}
	return err
}

// pages reads a list in pages, and each object once.
func pages(ctx context.Context, c *Clients) error {
	maps := c.Typed.CoreV1().ConfigMaps(c.Namespace)
	for i := range 25 {
		if _, err := maps.Create(ctx, configMap(fmt.Sprintf("page-%02d", i)), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	reader := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
		return maps.List(ctx, options)
	}))
	reader.PageSize = 10
	found := map[string]bool{}
	err := reader.EachListItem(ctx, metav1.ListOptions{LabelSelector: "app=clientgo"}, func(o runtime.Object) error {
		found[o.(*corev1.ConfigMap).Name] = true
		return nil
	})
	if err == nil && len(found) != 25 {
		err = fmt.Errorf("%d of 25 objects", len(found))
	}
	return err
}
