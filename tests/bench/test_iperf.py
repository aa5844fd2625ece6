"""What is read of iperf3's answers, and which rate counts as loss-free."""

from ftmb.bench import iperf


def test_what_iperf3_tells_is_read():
    assert iperf.tcp({"end": {"sum_received": {"bits_per_second": 2.5e8}, "sum_sent": {"retransmits": 7}}}) == {
        "mbit_s": 250.0, "retransmits": 7}
    assert iperf.udp(60, {"end": {"sum": {"packets": 1000, "lost_packets": 3}}}) == {"rate_mbit_s": 60, "sent": 1000, "lost": 3}


def test_loss_free_is_the_highest_rate_without_a_loss():
    rows = [{"rate_mbit_s": 10, "sent": 9, "lost": 0}, {"rate_mbit_s": 20, "sent": 9, "lost": 0}, {"rate_mbit_s": 30, "sent": 9, "lost": 1}]
    assert iperf.loss_free(rows) == 20 and iperf.loss_free(rows[2:]) == 0
    assert iperf.lines({"tcp": {"mbit_s": 200.0, "retransmits": 5}, "udp": rows})[-1] == "loss-free: up to 20 Mbit/s"
