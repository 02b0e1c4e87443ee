package esp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
)

// Packets that others have made.
var vectors = []struct {
	name, source string
	pair         ipsec.Pair
	integrity    string
	encryption   string
	salt         string
	packet       string
	plain        string // without padding; "" where the source shows none
}{
	{
		name:       "aes-gcm, DNS query",
		source:     "draft-mcgrew-gcm-test-01, case 2",
		pair:       ipsec.Pair{EAlg: ipsec.AESGCM},
		encryption: "feffe9928665731c6d6a8f9467308308",
		salt:       "cafebabe",
		packet:     "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd426f8391b9927d0fcc984561bbbce9fc0",
		plain:      "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d001000001000000000000037369700963796265726369747902646b0000010001",
	},
	{
		name:       "aes-gcm, all zero",
		source:     "draft-mcgrew-gcm-test-01, case 4",
		pair:       ipsec.Pair{EAlg: ipsec.AESGCM},
		encryption: "00000000000000000000000000000000",
		salt:       "00000000",
		packet:     "000000000000000100000000000000004688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284456476492719ffb64de7d9dca1e1d894bc3bd57873ed4d181d19d4d5c8c18af6fe1d7372228a69f40deb373ddc01676b",
		plain:      "4500003c99c500008001cb7a40679318010101010800075c020044006162636465666768696a6b6c6d6e6f7071727374757677616263646566676869",
	},
	{
		name:      "aes-gmac",
		source:    "draft-mcgrew-gcm-test-01, case 15",
		pair:      ipsec.Pair{Alg: ipsec.AESGMAC},
		integrity: "4c80cdefbb5d10da906ac73c3613a634",
		salt:      "22433c64",
		packet:    "0000432100000007000000000000000045000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f707172737401020204594f4055428d399a9d66c15e77023a98",
		plain:     "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f7071727374",
	},
	{
		name:       "hmac-md5-96 with des-ede3-cbc",
		source:     "FreeS/WAN 3des-md5-96, in tcpdump's tests/02-sunrise-sunset-esp.pcap",
		pair:       ipsec.Pair{Alg: ipsec.HMACMD5, EAlg: ipsec.DESEDE3CBC},
		integrity:  "87658765876587658765876587658765",
		encryption: "4043434545464649494a4a4c4c4f4f515152525454575758",
		packet:     "12345678000000014c20452f3cb09211d3a748cde5c811e39c4ee83cfe96a1e42acfd2b87aab05d1642ba3af9c1bc342102c40ad15df4de0200a63638734711187d412093b83bfaa43191cbd84a45b0276338399b1f5ca17cc9254457e5906551a7041e3dc9176e86fd3ffdd00b0bc11f8103097",
	},
	{
		name:       "hmac-sha-1-96 with aes-cbc, of 256 bits",
		source:     "FreeS/WAN aes-sha1-96, in tcpdump's tests/08-sunrise-sunset-aes.pcap",
		pair:       ipsec.Pair{Alg: ipsec.HMACSHA1, EAlg: ipsec.AESCBC},
		integrity:  "8765876587658765876587658765876587658765",
		encryption: "aaaabbbbccccdddd4043434545464649494a4a4c4c4f4f515152525454575758",
		packet:     "d123456700000001e6bb1ce8d0a88170da61de234d5618a09984c00c3ebcfc69e9287affec215449ffbe790ac7280eca8f6c88b125deca11c870e4f851342d20200ff1189cc18c910a5f37e74f1528f26749bf998bc20cc645117e2bdcc9ba0b0ad3a80168619ac66eb4b070d771e65f6077ea5366bf3bd88b5b5cbcd1e4d990b76e85b1",
	},
}

func TestPacketsOfOthers(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			m := ipsec.Material{Integrity: unhex(t, v.integrity), Encryption: unhex(t, v.encryption)}
			copy(m.Salt[:], unhex(t, v.salt))
			tr, err := NewTransform(v.pair, m)
			if err != nil {
				t.Fatal(err)
			}
			packet := unhex(t, v.packet)
			payload, next, err := tr.Open(bytes.Clone(packet))
			if err != nil || next != protoIPv4 {
				t.Fatalf("%s: next header %d, %v; want an IPv4 packet", v.source, next, err)
			}
			if v.plain != "" && !bytes.Equal(payload, unhex(t, v.plain)) {
				t.Errorf("%s: within is %x", v.source, payload)
			}
			if p, ok := parseIP(payload); !ok || len(payload) != int(binary.BigEndian.Uint16(payload[2:])) {
				t.Errorf("%s: within is no IPv4 packet: %+v", v.source, p)
			}
			tr.drawIV = func(iv []byte) { copy(iv, packet[headerLen:]) }
			buf := make([]byte, 1500)
			copy(buf[tr.Head():], payload)
			got := tr.Seal(buf, len(payload), next, binary.BigEndian.Uint32(packet), binary.BigEndian.Uint32(packet[4:]))
			if !bytes.Equal(got, packet) {
				t.Errorf("%s: sealed\n%x\nwant\n%x", v.source, got, packet)
			}
		})
	}
}
