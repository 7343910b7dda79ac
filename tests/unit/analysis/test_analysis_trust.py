"""What the verdict says about the trust it deserves."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from record_builder import build_record, seal

from harness.analysis.analyse import analyse
from harness.record.reader import read


def dropping_record(folder, arm):
    """A record in which the failed arrivals of one arm's fault window were never sent, for want of a free user."""
    build_record(folder, fault_error={"checkout": 0.9}, expect=["error-rate increases by < 1pp"])
    file = folder / "samples.parquet"
    table = pq.read_table(file)
    lost = pc.and_(
        pc.equal(table["arm"].cast(pa.string()), arm), pc.equal(table["error"].cast(pa.string()), "http_5xx")
    )
    words = pc.if_else(lost, "dropped", table["error"].cast(pa.string()))
    index = table.schema.get_field_index("error")
    pq.write_table(table.set_column(index, table.schema.field(index), words.cast(table.schema.field(index).type)), file)
    seal(folder)
    return pc.sum(lost).as_py()


def test_arrivals_that_a_fault_arm_could_not_send_are_failures_with_a_remark_on_the_pool(tmp_path):
    dropped = dropping_record(tmp_path, "fault-1")
    verdict = analyse(read(tmp_path))
    assert verdict.validity.valid
    [comparison] = verdict.comparisons
    assert comparison.outcome == "fail"
    assert comparison.fault > 0.3
    [remark] = verdict.validity.reasons
    assert remark.startswith(f"fault-1: {dropped:,} arrivals were not sent")
    assert "larger `load.pool`" in remark


def test_a_record_without_dropped_arrivals_has_no_such_remark(tmp_path):
    build_record(tmp_path, fault_error={"checkout": 0.9})
    assert analyse(read(tmp_path)).validity.reasons == ()
