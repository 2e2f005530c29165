"""A BERT correctness auditor: each check is a bug that some BERT had, and says in which public report it was seen."""

from minibert.debug.auditing.examination import doctor
from minibert.debug.auditing.finding import Finding
from minibert.debug.auditing.pairs import audit_pairs
from minibert.debug.auditing.report import Report
from minibert.debug.auditing.runs import doctor_corpus, doctor_run

__all__ = ["Finding", "Report", "audit_pairs", "doctor", "doctor_corpus", "doctor_run"]
