"""SQLAlchemy on masked views.  Prints TAP; see README.md."""

import sys

from sqlalchemy import (BigInteger, Column, ForeignKey, Integer, Numeric, Text, create_engine, func, inspect, select, update, bindparam)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, declarative_base, joinedload, relationship, selectinload

count = 0
failed = 0


def ok(good, name):
    global count, failed
    count += 1
    failed += 0 if good else 1
    print(("ok" if good else "not ok") + " %d - SQLAlchemy: %s" % (count, name))


Base = declarative_base()


class Customer(Base):
    __tablename__ = "customer"
    id = Column(BigInteger, primary_key=True)
    name = Column(Text, nullable=False)
    phone = Column(Text)
    address = Column(Text)
    grade = Column(Integer, server_default="1")
    version = Column(Integer, nullable=False)
    parcels = relationship("Parcel", back_populates="customer", cascade="all, delete-orphan", passive_deletes=True)
    __mapper_args__ = {"version_id_col": version}


class Parcel(Base):
    __tablename__ = "parcel"
    id = Column(BigInteger, primary_key=True)
    customer_id = Column(BigInteger, ForeignKey("customer.id"), nullable=False)
    waybill_no = Column(Text, nullable=False)
    weight = Column(Numeric(8, 2))
    extra = Column(JSONB)
    customer = relationship("Customer", back_populates="parcels")


engine = create_engine("postgresql+psycopg2://app@/express", future=True)

with Session(engine) as session:
    li = Customer(name="李雷", phone="13700000001", address="浙江省杭州市西湖区文三路99号")
    li.parcels = [Parcel(waybill_no="SF2000000000001", weight=1.5, extra={"fragile": True}), Parcel(waybill_no="SF2000000000002")]
    session.add(li)
    session.commit()
    key = li.id
    ok(key > 1000 and li.grade == 1 and len(li.parcels) == 2, "a customer with two parcels is stored")
    ok(li.parcels[0].extra == {"fragile": True}, "JSON beside masked columns")

with Session(engine) as session:
    li = session.get(Customer, key)
    ok(li.phone == "13700000001" and li.address.endswith("****"), "read back, address masked")
    li.grade = 4
    session.commit()
    ok(li.grade == 4 and li.version == 2, "an update writes what changed, with a version")
    # an application that writes everything back
    session.execute(update(Customer).where(Customer.id == key).values(name=li.name, phone=li.phone, address=li.address, grade=5)
                    .execution_options(synchronize_session=False))
    session.commit()
    ok(session.execute(select(Customer.grade, Customer.phone).where(Customer.id == key)).one() == (5, "13700000001"), "everything written back")

with Session(engine) as session:
    found = session.execute(select(Customer).filter_by(phone="137 0000 0001")).scalar_one()
    ok(found.id == key, "find by phone")
    ok(session.scalar(select(func.count()).select_from(Customer).where(Customer.phone.in_(["13700000001", "13800000005"]))) == 2, "find by a list")
    rows = session.execute(select(Parcel.waybill_no, Customer.phone).join(Customer).where(Customer.id <= 20).order_by(Parcel.id.desc()).limit(3)).all()
    ok(rows[0] == ("SF1000000000020", "13800000020") and len(rows) == 3, "join, order and limit")
    loaded = session.execute(select(Customer).options(selectinload(Customer.parcels)).where(Customer.id == key)).scalar_one()
    ok([p.waybill_no for p in loaded.parcels] == ["SF2000000000001", "SF2000000000002"], "related rows by IN")
    loaded = session.execute(select(Parcel).options(joinedload(Parcel.customer)).where(Parcel.waybill_no == "SF2000000000002")).scalar_one()
    ok(loaded.customer.phone == "13700000001", "related row by outer join")
    page = session.execute(select(Customer.id, Customer.phone).order_by(Customer.id).offset(10).limit(5)).all()
    ok([p.phone for p in page] == [str(13800000000 + i) for i in range(11, 16)], "a page")

with Session(engine) as session:
    session.bulk_save_objects([Customer(name="批量", phone=str(13710000000 + i), version=1) for i in range(40)])
    session.commit()
    session.execute(update(Customer.__table__).where(Customer.__table__.c.phone == bindparam("p")).values(grade=80), [{"p": str(13710000000 + i)} for i in range(10)])
    session.commit()
    ok(session.scalar(select(func.count()).select_from(Customer).where(Customer.grade == 80)) == 10, "bulk insert and update")

with Session(engine) as one, Session(engine) as two:
    a, b = one.get(Customer, key), two.get(Customer, key)
    a.grade = 6
    one.commit()
    b.grade = 7
    try:
        two.commit()
        stale = False
    except Exception as error:
        stale = type(error).__name__ == "StaleDataError"
    ok(stale, "a stale version is noticed")

with Session(engine) as session:
    li = session.get(Customer, key)
    li.phone = "137****0001"
    try:
        session.commit()
        code = None
    except DBAPIError as error:
        code = error.orig.pgcode
        session.rollback()
    ok(code == "PI007", "a mask is refused")
    session.delete(session.get(Customer, key))
    session.commit()
    ok(session.scalar(select(func.count()).select_from(Parcel).where(Parcel.customer_id == key)) == 0, "deleted, with what refers to it")

columns = inspect(engine).get_columns("customer", schema="masked")
ok([c["name"] for c in columns][:4] == ["id", "name", "phone", "address"] and isinstance(columns[2]["type"], Text), "inspection")
ok("customer" in inspect(engine).get_view_names(schema="masked"), "views are listed")

print("1..%d" % count)
sys.exit(1 if failed else 0)
