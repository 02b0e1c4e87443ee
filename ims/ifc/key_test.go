package ifc

import (
	"reflect"
	"testing"

	"github.com/gocscf/gocscf/ims/profile"
)

// Two profiles that differ in one field, whichever, are two; a field that is added
// to a criterion fails here until keyOf has it.
func TestKeyOfSeesEveryField(t *testing.T) {
	fresh := func() *profile.ServiceProfile {
		return &profile.ServiceProfile{
			SharedIFCSetIDs: []int32{1},
			InitialFilterCriteria: []profile.InitialFilterCriteria{{TriggerPoint: &profile.TriggerPoint{SPTs: []profile.SPT{{
				Groups: []int32{0}, RegistrationTypes: []profile.RegistrationType{profile.InitialRegistration},
			}}}}},
		}
	}
	if a, b := keyOf(fresh()), keyOf(fresh()); a != b {
		t.Fatal("equal profiles have different keys")
	}
	// visit calls change on every leaf of a fresh profile in turn, by its number.
	var visit func(v reflect.Value, path string, at *int, change func(reflect.Value, string))
	visit = func(v reflect.Value, path string, at *int, change func(reflect.Value, string)) {
		switch v.Kind() {
		case reflect.Pointer:
			visit(v.Elem(), path, at, change)
		case reflect.Slice:
			for i := range v.Len() {
				visit(v.Index(i), path+"[]", at, change)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				visit(v.Field(i), path+"."+v.Type().Field(i).Name, at, change)
			}
		default:
			if *at == 0 {
				change(v, path)
			}
			*at--
		}
	}
	seen := 0
	for n := 0; ; n++ {
		sp, at, done := fresh(), n, true
		for _, root := range []reflect.Value{reflect.ValueOf(&sp.InitialFilterCriteria).Elem(), reflect.ValueOf(&sp.SharedIFCSetIDs).Elem()} {
			visit(root, "", &at, func(v reflect.Value, path string) {
				done = false
				seen++
				switch v.Kind() {
				case reflect.String:
					v.SetString("x")
				case reflect.Bool:
					v.SetBool(true)
				case reflect.Int32:
					v.SetInt(v.Int() + 1)
				case reflect.Uint8:
					v.SetUint(v.Uint() + 1)
				default:
					t.Fatalf("%s is of a kind that this test does not change", path)
				}
				if keyOf(sp) == keyOf(fresh()) {
					t.Errorf("%s is not in the key", path)
				}
			})
		}
		if done {
			break
		}
	}
	if seen < 15 {
		t.Errorf("only %d fields were looked at", seen)
	}
	// What lies on the border of two strings belongs to one of them.
	a, b := fresh(), fresh()
	a.InitialFilterCriteria[0].TriggerPoint.SPTs[0].Text, b.InitialFilterCriteria[0].TriggerPoint.SPTs[0].Content = "x", "x"
	if keyOf(a) == keyOf(b) {
		t.Error("a text and a content are taken for each other")
	}
}
