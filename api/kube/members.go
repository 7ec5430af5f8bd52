package kube

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	balizaclient "github.com/baliza-lb/baliza/api/client/clientset/versioned/typed/api/v1beta1"
	"github.com/baliza-lb/baliza/api/client/informers/externalversions"
	balizainformers "github.com/baliza-lb/baliza/api/client/informers/externalversions/api/v1beta1"
	balizalisters "github.com/baliza-lb/baliza/api/client/listers/api/v1beta1"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// earlierPeriod is how often the Speakers are asked for until they were read once.
const earlierPeriod = time.Second

// memberLists are what a speaker sees of the others: their Members. Of Speakers it
// watches its own alone, to write it again when somebody has deleted it: each report
// is sent to the controllers and to nobody else, or one address that moves would cost
// two reports for every node.
//
// During an update there are speakers that write no Member and read Speakers. They
// find those that do as they always did, for each goes on writing where it is reached
// into its Speaker. The other way the directory of members would do, which brings two
// together as soon as one of them calls the other, but for the first moment: a
// speaker that is told of nobody need not look for anybody, and takes every address.
// So Speakers are read once, at the start, for where those are that have no Member.
// What those say later, whom they miss and whom they confirm, is not seen, which lasts
// as long as the update: of a partition in that time the controller may take the
// later version's side for dead.
type memberLists struct {
	node    string
	members balizalisters.MemberLister
	own     balizalisters.SpeakerLister
	client  balizaclient.SpeakerInterface
	wait    sync.WaitGroup

	// earlier are the Members that those would have, by name; nil until they were
	// read. The lock of the SpeakerView guards it.
	earlier map[string]*v1beta1.Member
}

// watchMembers prepares the caches; watch is called with what hears of changes.
func (v *SpeakerView) watchMembers(
	clients Clients, node string, members balizainformers.MemberInformer, watch func(cache.SharedIndexInformer),
) {
	named := externalversions.NewSharedInformerFactoryWithOptions(clients.Baliza, 0,
		externalversions.WithTransform(speakerStripper(node, serviceStripper(nil))),
		externalversions.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, node).String()
		}))
	v.factories = append(v.factories, named)
	own := named.Baliza().V1beta1().Speakers()
	v.members.node, v.members.client = node, clients.Baliza.BalizaV1beta1().Speakers()
	v.members.members, v.members.own = members.Lister(), own.Lister()
	watch(members.Informer())
	watch(own.Informer())
	v.synced = append(v.synced, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.members.earlier != nil
	})
}

// readEarlier reads the Speakers once, and tries until it can. Why it cannot is
// logged by the watch of this node's own, which takes the same rights.
func (v *SpeakerView) readEarlier(ctx context.Context) {
	_ = wait.PollUntilContextCancel(ctx, earlierPeriod, true, func(ctx context.Context) (bool, error) {
		list, err := v.members.client.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // the next time
		}
		earlier := make(map[string]*v1beta1.Member, len(list.Items))
		for i := range list.Items {
			s := &list.Items[i]
			earlier[s.Name] = &v1beta1.Member{
				ObjectMeta: identity(s.ObjectMeta),
				Status:     v1beta1.MemberStatus{MemberAddress: s.Status.MemberAddress, LocalAddresses: s.Status.LocalAddresses},
			}
		}
		delete(earlier, v.members.node)
		v.mu.Lock()
		v.members.earlier, v.pending.Members = earlier, true
		v.mu.Unlock()
		v.wake()
		return true, nil
	})
}

func (v *SpeakerView) noteNode(any) {
	v.pending.Nodes = true
	v.pending.Members = v.pending.Members || len(v.members.earlier) > 0 // those of nodes that there are
}

// Members returns what the speakers say to each other, in any order, and this
// node's own Speaker: nil unless it has both its objects, the Member and the Speaker.
func (v *SpeakerView) Members() (members []*v1beta1.Member, own *v1beta1.Speaker) {
	members = all(v.members.members.List)
	said := make(map[string]bool, len(members))
	for _, m := range members {
		said[m.Name] = true
	}
	if speaker, err := v.members.own.Get(v.members.node); err == nil && said[v.members.node] {
		own = speaker
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, m := range v.members.earlier {
		if _, err := v.nodes.Get(name); err == nil && !said[name] {
			members = append(members, m)
		}
	}
	return members, own
}
