"""A real PACS: an Orthanc of the test's own on the loopback. Studies go in, are run by UID, and SEG and SR are found back.

No model is at hand that a real study passes: the labels are given (the phantom's truth, the experts' contours of Sunnybrook), and go
the way of a model's, through the output functions.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import requests
from cinestudies import expert_labels
from numpy.typing import NDArray
from pacs import files_of

from scripts.clinical.function import measure
from scripts.clinical.outputs import write_outputs
from scripts.clinical.pacs.credentials import Credentials
from scripts.clinical.pacs.dicom_store import DicomNode, DicomStore
from scripts.clinical.pacs.dicomweb import DicomWeb
from scripts.clinical.pacs.exchange import Store, report_of_uid, store_report
from scripts.clinical.structures import Structures
from scripts.clinical.study import read_study
from scripts.data.dicom_phantom import dicom_phantom_truth

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
STRUCTURES = Structures(rv=1, myocardium=2, lv=3)
ABOUT: Any = {
    **{"model_file": "model.pt", "weights_sha256": "0123456789abcdef" * 4, "model": {}, "bundle_version": "0.3.0"},
    **{"software": {}, "seconds": 1.0, "device": "cpu"},
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Orthanc:
    """A running server: ``url`` of its REST interface, ``port`` of DICOM."""

    def __init__(self, folder: Path) -> None:
        http, self.port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{http}"
        settings = {
            **{"StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [str(PLUGIN)]},
            **{"HttpPort": http, "DicomPort": self.port, "DicomAet": "ORTHANC", "DicomAlwaysAllowStore": True},
            **{"RemoteAccessAllowed": False, "AuthenticationEnabled": True, "RegisteredUsers": {"user": "password"}},
            **{"HttpBindAddresses": ["127.0.0.1"], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.session = requests.Session()
        self.session.auth = ("user", "password")
        command = [shutil.which("Orthanc") or "Orthanc", str(folder / "orthanc.json")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                assert self.get("/system")["Name"] is not None
                return
            except (requests.ConnectionError, KeyError):
                time.sleep(0.05)
        raise RuntimeError("Orthanc did not start.")

    def get(self, path: str) -> Any:
        return self.session.get(self.url + path, timeout=10).json()

    def push(self, study: Path) -> None:
        for path in files_of(study).values():
            assert self.session.post(f"{self.url}/instances", data=path.read_bytes(), timeout=10).status_code == 200

    def series(self, study_uid: str, modality: str) -> list[Path]:
        """Objects of a kind in a study, by their addresses."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid, "Modality": modality}}
        return self.session.post(f"{self.url}/tools/find", json=query, timeout=10).json()

    def download(self, instance: str, path: Path) -> Path:
        path.write_bytes(self.session.get(f"{self.url}/instances/{instance}/file", timeout=10).content)
        return path


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if shutil.which("Orthanc") is None or not PLUGIN.is_file():
        message = "Orthanc is absent: install Debian's orthanc and orthanc-dicomweb to test with a real PACS"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    yield server
    server.process.terminate()
    server.process.wait(10)


def web_of(orthanc: Orthanc) -> DicomWeb:
    return DicomWeb(f"{orthanc.url}/dicom-web", Credentials(user="user", password="password"))


def run_by_uid(
    orthanc: Orthanc, source: Path, study_uid: str, labels: NDArray[np.uint8], store: Store, folder: Path
) -> None:
    """Push, fetch, report, store, find back; what comes back is what was sent, twice."""
    out = folder / "report"
    orthanc.push(source)
    pushed = read_study(source)
    phases: dict[str, int] = {}

    def report(fetched: Path) -> int:
        study = read_study(fetched)
        np.testing.assert_array_equal(study.images, pushed.images)
        np.testing.assert_array_equal(study.affine, pushed.affine)
        function = measure(labels, study.spacing, STRUCTURES)
        phases.update(ed=function.phases.ed, es=function.phases.es)
        write_outputs(out, study, labels, None, function, (), None, ABOUT, structures=STRUCTURES, dicom=True)
        return 0

    assert report_of_uid(study_uid, web_of(orthanc), report) == 0
    assert store_report(out, store) == store_report(out, store) == 3, "twice does no harm"
    found = [orthanc.download(one, folder / f"{one}.dcm") for one in orthanc.series(study_uid, "SEG")]
    assert len(found) == 2
    expected = {name: labels[phase] for name, phase in phases.items()}
    sent = {hd.seg.segread(out / "dicom" / f"{name}.seg.dcm").SOPInstanceUID: name for name in expected}
    for path in found:
        segmentation = hd.seg.segread(path)
        mask = np.asarray(segmentation.get_volume(combine_segments=True).array)  # slice, row, column
        values = {item.SegmentNumber: item.SegmentLabel for item in segmentation.SegmentSequence}
        truth = expected[sent[segmentation.SOPInstanceUID]]
        present = np.flatnonzero((truth > 0).any((0, 1)))
        first = mask.shape[0] == truth.shape[2]
        truth = np.moveaxis(truth if first else truth[..., present[0] : present[-1] + 1], -1, 0).swapaxes(1, 2)
        by_label = {"LV cavity": 3, "LV myocardium": 2, "RV cavity": 1}
        got = np.zeros_like(truth)
        for number, label in values.items():
            got[mask == number] = by_label[label]
        assert any(np.array_equal(order, truth) for order in (got, got[::-1])), "masks are identical"
    (report_object,) = orthanc.series(study_uid, "SR")
    stored = hd.sr.srread(orthanc.download(report_object, folder / "back.sr.dcm"))
    assert stored == hd.sr.srread(out / "dicom" / "report.sr.dcm")


def test_the_phantom_by_uid_with_c_store(orthanc: Orthanc, dicom_phantom: Path, study_uid: str, tmp_path: Path) -> None:
    store = DicomStore(DicomNode("127.0.0.1", orthanc.port, "ORTHANC"), Credentials())
    run_by_uid(orthanc, dicom_phantom, study_uid, dicom_phantom_truth(smallest=True)[0], store, tmp_path)


def test_sunnybrook_by_uid_with_stow(orthanc: Orthanc, real_data: Path, tmp_path: Path) -> None:
    """Its UIDs have leading zeros, which the standard forbids: they pass, unchanged."""
    source = real_data / "sunnybrook"
    files = files_of(source / "dicom")
    header = pydicom.dcmread(next(iter(files.values())), stop_before_pixels=True)
    known = [*files, header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID]
    assert any(re.search(r"\.0\d", uid) for uid in known)
    study_uid = str(header.StudyInstanceUID)
    labels = expert_labels(source / "contours" / "SCD0000301", read_study(source / "dicom"))
    run_by_uid(orthanc, source / "dicom", study_uid, labels, web_of(orthanc), tmp_path)
