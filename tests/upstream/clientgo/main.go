// A program of client-go against a cluster: each function is a fact, named on the command line.
//
// It builds with client-go 0.32 to 0.36 in GOPATH mode, as Debian packages it: vagrant/upstream.sh clientgo does so.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const patience = 30 * time.Second

var facts = map[string]func(context.Context, *Clients) error{
	"discovery":   discovers,
	"informers":   informs,
	"metadata":    informsOfMetadata,
	"relists":     relists,
	"pages":       pages,
	"protobuf":    speaksProtobuf,
	"applies":     applies,
	"retries":     retries,
	"controls":    controls,
	"elects":      elects,
	"records":     records,
	"scales":      scales,
	"evicts":      evicts,
	"executes":    executes,
	"forwards":    forwards,
	"logs":        followsLogs,
	"definitions": defines,
}

// Clients of one cluster, and a namespace for one fact.
type Clients struct {
	Config    *rest.Config
	Typed     *kubernetes.Clientset
	Dynamic   *dynamic.DynamicClient
	Namespace string
}

func newClients(config *rest.Config, namespace string) *Clients {
	return &Clients{
		Config:    config,
		Typed:     kubernetes.NewForConfigOrDie(config),
		Dynamic:   dynamic.NewForConfigOrDie(config),
		Namespace: namespace,
	}
}

func check(ctx context.Context, config *rest.Config, name string) (err error) {
	typed := kubernetes.NewForConfigOrDie(config)
	wanted := namespace("clientgo-" + name)
	made, err := typed.CoreV1().Namespaces().Create(ctx, wanted, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, typed.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), made.Name, metav1.DeleteOptions{}))
	}()
	return facts[name](ctx, newClients(config, made.Name))
}

// until waits for what must come true soon.
func until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, done); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func main() {
	all := slices.Sorted(maps.Keys(facts))
	if len(os.Args) == 2 && os.Args[1] == "list" {
		fmt.Println(strings.Join(all, "\n"))
		return
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	config.QPS = -1
	names := os.Args[1:]
	if len(names) == 0 {
		names = all
	}
	failed := 0
	for _, name := range names {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		begun := time.Now()
		err := check(ctx, rest.CopyConfig(config), name)
		cancel()
		if err != nil {
			failed++
			fmt.Printf("%s: %v\n", name, err)
			continue
		}
		fmt.Printf("%s: ok (%d ms)\n", name, time.Since(begun).Milliseconds())
	}
	if failed > 0 {
		os.Exit(1)
	}
	fmt.Println("ok")
}
