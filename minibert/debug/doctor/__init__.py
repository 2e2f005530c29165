"""A BERT correctness auditor: each check is a bug that some BERT had, and says in which public report it was seen."""

from minibert.debug.doctor.examination import doctor
from minibert.debug.doctor.finding import Finding
from minibert.debug.doctor.pairs import audit_pairs
from minibert.debug.doctor.report import Report
from minibert.debug.doctor.runs import doctor_corpus, doctor_run

__all__ = ["Finding", "Report", "audit_pairs", "doctor", "doctor_corpus", "doctor_run"]
