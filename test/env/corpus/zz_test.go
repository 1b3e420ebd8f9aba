package corpus
import ("testing";"time";"fmt";"os")
func TestZZ(t *testing.T){ for _,s:=range []Spec{Large,Handset,Small,Million} { os.RemoveAll("/dev/shm/zz"); t0:=time.Now(); n,err:=Generate("/dev/shm/zz",s,1); fmt.Println(s.Name,n,err,time.Since(t0)); if s.Name=="handset" {t0=time.Now(); fmt.Println(Compare("/dev/shm/zz","/dev/shm/zz"), time.Since(t0))} }; }
