package kube

import (
	"context"
	"errors"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
)

// speakerDaemonSet is the name of the speakers' DaemonSet.
const speakerDaemonSet = "baliza-speaker"

// readySpeakers sees how many pods of the speakers are ready: when all have ended at
// once, none is left to say so. Where speakers are run otherwise, nothing is known.
type readySpeakers struct {
	factory    informers.SharedInformerFactory
	daemonSets appslisters.DaemonSetLister
}

// watchReadySpeakers prepares the cache; watch is called with what hears of changes.
func watchReadySpeakers(clients Clients, namespace string, watch func(cache.SharedIndexInformer)) readySpeakers {
	r := readySpeakers{factory: informers.NewSharedInformerFactoryWithOptions(clients.Kubernetes, 0, informers.WithNamespace(namespace),
		informers.WithTransform(slimDaemonSet), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, speakerDaemonSet).String()
		}))}
	sets := r.factory.Apps().V1().DaemonSets()
	r.daemonSets = sets.Lister()
	watch(sets.Informer())
	return r
}

func slimDaemonSet(object any) (any, error) {
	o, ok := object.(*appsv1.DaemonSet)
	if !ok {
		return object, errors.New("not a DaemonSet")
	}
	slim := &appsv1.DaemonSet{ObjectMeta: identity(o.ObjectMeta)}
	slim.Status.NumberReady = o.Status.NumberReady
	// Where speakers are to run, and what they were told: for the status page.
	pod := &o.Spec.Template.Spec
	slim.Spec.Template.Spec.NodeSelector, slim.Spec.Template.Spec.Tolerations = pod.NodeSelector, pod.Tolerations
	slim.Spec.Template.Spec.Affinity = pod.Affinity
	for i := range pod.Containers {
		slim.Spec.Template.Spec.Containers = append(slim.Spec.Template.Spec.Containers, corev1.Container{
			Name: pod.Containers[i].Name, Image: pod.Containers[i].Image, Args: pod.Containers[i].Args,
		})
	}
	return slim, nil
}

func (r *readySpeakers) start(ctx context.Context) { r.factory.Start(ctx.Done()) }

// ReadySpeakers returns how many pods of the speakers are ready, if that is known.
func (v *ControllerView) ReadySpeakers() (ready int, known bool) {
	for _, set := range all(v.ready.daemonSets.List) {
		ready, known = ready+int(set.Status.NumberReady), true
	}
	return ready, known
}
