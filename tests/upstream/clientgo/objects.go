package main

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var labels = map[string]string{"app": "clientgo"}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Labels: labels} }

func p[T any](value T) *T { return &value }

func namespace(prefix string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: named(name), Data: map[string]string{"a": "1"}}
}

// podSpec is of a program of the cluster's machine.
func podSpec(command ...string) corev1.PodSpec {
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: p(int64(1)),
		Containers:                    []corev1.Container{{Name: "c", Image: "netpod.dev/host", Command: command}},
	}
}

func pod(name string, command ...string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: named(name), Spec: podSpec(command...)}
}

func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec("sleep", "600")}
}

func selector() *metav1.LabelSelector { return &metav1.LabelSelector{MatchLabels: labels} }

func deployment(name string, replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: named(name),
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector(), Template: template()},
	}
}
