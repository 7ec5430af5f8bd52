package plan

import (
	"reflect"
	"testing"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

// S3: whatever a route has counts in its attributes and in what tells that two are
// the same. Who adds a field and forgets one of them would leave routers with what
// they knew.
func TestS3_EveryFieldOfARouteReachesTheRouter(t *testing.T) {
	two := uint32(2)
	values := map[string]any{
		"LocalPref": &two, "MED": &two, "Prepend": 2, "Communities": []config.CommunityValue{{B: 64512, C: 2}}, "Weight": 2, "Transitive": true,
	}
	var none Route
	of := reflect.TypeFor[Route]()
	for i := range of.NumField() {
		name := of.Field(i).Name
		if name == "Prefix" {
			continue
		}
		value, ok := values[name]
		if !ok {
			t.Errorf("the test has no value for %s", name)
			continue
		}
		var one Route
		reflect.ValueOf(&one).Elem().Field(i).Set(reflect.ValueOf(value))
		if one.Shape() == none.Shape() {
			t.Errorf("%s does not count in Shape", name)
		}
		if one.Attributes() == none.Attributes() {
			t.Errorf("%s does not count in Attributes", name)
		}
	}
	if (&Route{LocalPref: &two}).Attributes().LocalPref != model.Some(two) {
		t.Error("the preference is another")
	}
}
